// A page rendered on a server: importing does nothing, and nothing needs WebAssembly.
import assert from 'node:assert/strict';
import { test } from 'node:test';

const before = { globals: new Set(Reflect.ownKeys(globalThis)), handles: process.getActiveResourcesInfo().length };
delete globalThis.WebAssembly;
before.globals.delete('WebAssembly');
const { createTautline, ConnectionManager, default: init, initSync, OrderUpdates, resources, TautlineError, VoiceConnection, WebSocketPool, WebSocketService } = await import('../dist/index.js');
await import('../dist/inspector.js');
const afterImport = { globals: new Set(Reflect.ownKeys(globalThis)), handles: process.getActiveResourcesInfo().length };

const notInitialized = (error) => error instanceof TautlineError && error.code === 'not_initialized' && /await init\(\)/.test(error.message);

test('importing leaves the page as it was', () => {
  assert.deepEqual(afterImport, before);
});

test('constructors give inert objects in state disconnected', async () => {
  const service = new WebSocketService({ restaurantId: 'grow', getToken: () => 'x' });
  const manager = new ConnectionManager(service);
  const orders = new OrderUpdates(service);
  assert.equal(service.getConnectionState(), 'disconnected');
  assert.equal(service.isConnected(), false);
  assert.deepEqual(service.outbox(), []);
  assert.equal(service.stats().lastSeq, null);
  assert.deepEqual(service.freshness(), { seq: null, confirmedAtMs: null, ageMs: null, live: false });
  assert.deepEqual(manager.getStatus(), { isConnected: false, isConnecting: false, connectionCount: 0 });
  assert.deepEqual(orders.orders(), []);
  assert.equal(orders.orders(), orders.orders());

  service.on('stateChange', () => {})();
  service.subscribe('order:*', () => {})();
  orders.onOrders(() => {})();
  service.off('stateChange', () => {});
  service.disconnect();
  manager.disconnect();
  orders.cleanup();

  const call = new VoiceConnection({ getToken: () => 'x' });
  assert.deepEqual([call.getConnectionState(), call.isConnecting(), call.isMuted(), call.transcript(), call.getDataChannel()], ['disconnected', false, true, [], null]);
  call.on('connected', () => {})();
  call.disconnect();
  await assert.rejects(call.connect(), notInitialized);
  assert.throws(() => call.startTalking(), notInitialized);
  call.dispose();

  const pool = new WebSocketPool({ urls: ['wss://a.example', 'wss://b.example'] });
  assert.deepEqual([pool.getConnectionState(), pool.isConnected(), pool.getStatistics().sent], ['disconnected', false, 0]);
  assert.deepEqual(pool.getHealthStatus().map(({ state, healthy, latencyMs }) => [state, healthy, latencyMs]), [['disconnected', false, null], ['disconnected', false, null]]);
  pool.on('health', () => {})();
  pool.subscribe(/./, () => {})();
  pool.disconnect();
  await assert.rejects(pool.connect(), notInitialized);
  await assert.rejects(pool.send({ type: 'x' }), notInitialized);
  pool.dispose();

  await assert.rejects(service.connect(), notInitialized);
  await assert.rejects(manager.acquire(), notInitialized);
  await assert.rejects(orders.updateOrderStatus('1', 'ready'), notInitialized);
  assert.throws(() => service.send('x'), notInitialized);
  assert.throws(() => orders.initialize(), notInitialized);

  for (const object of [orders, manager, service]) {
    object.dispose();
    object.dispose();
  }
  assert.throws(() => service.send('x'), { code: 'disposed' });
});

test('createTautline gives inert objects too', async () => {
  const tautline = await createTautline({ restaurantId: 'grow' });
  assert.equal(tautline.service.getConnectionState(), 'disconnected');
  tautline.dispose();
  tautline[Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
});

test('loading without WebAssembly says so', async () => {
  await assert.rejects(init(), { code: 'wasm_unavailable' });
  assert.throws(() => initSync(new Uint8Array()), { code: 'wasm_unavailable' });
  await assert.rejects(createTautline({ module: new Uint8Array() }), { code: 'wasm_unavailable' });
});

test('the ledger answers', () => {
  assert.ok(Object.values(resources.counts()).every((count) => count === 0));
  assert.equal(resources.memory().wasmBytes, 0);
});
