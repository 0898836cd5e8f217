// The layer over the real module, under Node: `initSync(bytes)`, the fake server of ./fake-socket.mjs.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { afterEach, mock, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FakeWebSocket, sockets } from './fake-socket.mjs';
import { ConnectionManager, createTautline, default as init, initSync, OrderUpdates, resources, WebSocketService } from '../dist/index.js';

globalThis.WebSocket = FakeWebSocket;
const consoles = ['log', 'warn', 'error', 'info', 'debug'].map((name) => mock.method(console, name));
initSync(await readFile(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

const options = { url: 'ws://relay.example/ws', restaurantId: 'grow', getToken: () => 'token' };
const event = (object, name) => new Promise((resolve) => object.once(name, resolve));
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));
const held = () => resources.list().map(({ kind, owner }) => `${kind} ${owner}`);

/** Bounded, by condition. */
async function until(condition) {
  for (let n = 0; !condition(); n += 1) {
    assert.ok(n < 400, `in time: ${condition}`);
    await settled();
  }
}

afterEach(async () => {
  await until(() => resources.list().length === 0).catch(() => assert.deepEqual(held(), []));
  const said = consoles.flatMap(({ mock }) => mock.calls.map((call) => call.arguments));
  for (const { mock } of consoles) mock.resetCalls();
  assert.deepEqual(said, []);
});

test('loaded once is loaded', async () => {
  initSync(new Uint8Array());
  await init('/nowhere.wasm');
  assert.ok(resources.memory().wasmBytes > 0);
});

test('arguments are checked, and the message says what to pass instead', async () => {
  const service = new WebSocketService(options);
  const orders = new OrderUpdates(service);
  const wrong = [
    [() => new WebSocketService({ reconnectInterval: '2s' }), /reconnectInterval takes milliseconds.*got "2s"/],
    [() => new WebSocketService({ maxReconnectAttempts: 1.5 }), /maxReconnectAttempts takes a whole number/],
    [() => new WebSocketService({ url: 'ftp://a' }), /url takes a ws:, wss:, http: or https: address/],
    [() => new WebSocketService({ url: 7 }), /url takes an address, a list of them, or a function/],
    [() => new WebSocketService({ url: [] }), /at least one address/],
    [() => new WebSocketService({ url: ['wss://a', 'ftp://b'] }), /url takes a ws:, wss:, http: or https: address, or a path; got "ftp:\/\/b"/],
    [() => new WebSocketService({ getToken: 'token' }), /getToken takes a function/],
    [() => new WebSocketService({ share: 'all' }), /share takes one of none, device; got "all"/],
    [() => new WebSocketService({ client: { name: '' } }), /client\.name takes a string/],
    [() => new WebSocketService(null), /takes an object; got null/],
    [() => new ConnectionManager(service, { lingerMs: -1 }), /lingerMs.*at least 0; got -1/],
    [() => new OrderUpdates({}), /WebSocketService of this copy/],
    [() => service.on('stateChange', undefined), /takes a function; got undefined/],
    [() => service.subscribe('order*', () => {}), /prefix such as order:\*/],
    [() => service.send('', {}), /send\(type\) takes a string/],
    [() => service.send('a', 1n), /JSON can hold/],
    [() => service.send('a', {}, { id: 'no spaces' }), /A-Z a-z 0-9/],
    [() => service.setToken(''), /takes a token/],
    [() => resources.register({ name: 'a', kind: 'b', priority: 'urgent', cleanup() {} }), /critical, high, medium, low/],
  ];
  for (const [call, message] of wrong) assert.throws(call, (error) => error.code === 'invalid_argument' && message.test(error.message), String(call));
  const rejected = [
    [() => service.connect({ signal: {} }), /AbortSignal/],
    [() => service.request('a', {}, { timeoutMs: NaN }), /timeoutMs/],
    [() => orders.updateOrderStatus('1', 'served'), /one of new, pending/],
    [() => orders.createOrder({ type: 'dine-in', items: [] }), /at least one item/],
    [() => orders.fetchOrders({ since: 'yesterday' }), /RFC 3339/],
    [() => service.setFilter(), /setFilter\(filter\) takes an object/],
    [() => service.setFilter({ event: ['order:*'] }), /takes events, filters; got "event"/],
    [() => service.setFilter({ events: 'order:*' }), /array of at most 32/],
    [() => service.setFilter({ events: ['order*'] }), /prefixes such as order:\*/],
    [() => service.setFilter({ events: Array(33).fill('a') }), /at most 32/],
    [() => service.setFilter({ filters: { table: 4 } }), /takes table_number, station, statuses, order_ids; got "table"/],
    [() => service.setFilter({ filters: { statuses: ['done'] } }), /picked-up/],
    [() => service.setFilter({ filters: { station: 'x'.repeat(65) } }), /at most 64 characters/],
    [() => service.setFilter({ filters: { order_ids: Array(101).fill('a') } }), /at most 100 values/],
  ];
  for (const [call, message] of rejected) await assert.rejects(call(), (error) => error.code === 'invalid_argument' && message.test(error.message), String(call));
  for (const object of [orders, service]) object.dispose();
});

test('the states are told, and the listeners stay what they were', async () => {
  const service = new WebSocketService({ ...options, reconnectInterval: 100 });
  const states = [];
  const listener = (state) => states.push(state);
  const off = service.on('stateChange', listener);
  await Promise.all([service.connect(), service.connect()]);
  assert.equal(service.isConnected(), true);
  assert.equal(sockets.length, 1);
  assert.equal(new URL(sockets[0].url).searchParams.get('restaurant_id'), 'grow');
  sockets[0].cut();
  await event(service, 'connected');
  assert.deepEqual(states, ['connecting', 'connected', 'reconnecting', 'connected']);
  assert.equal(service.stats().connects, 2);

  assert.equal(service.listenerCount('stateChange'), 1);
  service.once('stateChange', listener);
  service.off('stateChange', listener);
  assert.equal(service.listenerCount('stateChange'), 0);
  off();
  service.on('error', listener);
  service.on('latency', listener);
  service.removeAllListeners('error');
  assert.deepEqual([service.listenerCount('error'), service.listenerCount('latency')], [0, 1]);
  service.removeAllListeners();
  assert.equal(service.listenerCount('latency'), 0);

  service.disconnect();
  assert.equal(service.getConnectionState(), 'disconnected');
  service.dispose();
});

test('a recording tells what happened, not what was said', async () => {
  const service = new WebSocketService({ ...options, getToken: () => 'secret-token' });
  await service.connect();
  service.send('table:clear', { note: 'secret-payload' }, { id: 'secret-id' });
  service.subscribe('*', () => {});
  for (let n = 0; n < 50; n += 1) sockets.at(-1).frame({ type: 'notification', payload: { text: 'secret-event' } });
  const recording = service.recording();
  assert.equal(recording.complete, true);
  const { entries } = JSON.parse(recording.export());
  assert.deepEqual(recording.toJSON().entries, entries);
  assert.deepEqual(entries.filter(([name]) => name === 'state').map(([, state]) => state), ['connecting', 'connected']);
  assert.equal(entries.filter(([, name]) => name === 'events').reduce((sum, entry) => sum + entry[4], 0), 50);
  assert.ok(!/secret|relay\.example/.test(recording.export()));
  service.dispose();
  assert.deepEqual(service.recording().toJSON().entries.slice(0, entries.length), entries);
});

test('messages reach their subscribers until they leave', async () => {
  const service = new WebSocketService(options);
  const heard = [];
  const offs = ['table:updated', 'table:*', '*'].map((pattern) => service.subscribe(pattern, (payload, message) => heard.push([pattern, payload.table, message.type])));
  service.on('message:table:updated', ({ payload }) => heard.push(['event', payload.table]));
  await service.connect();
  const socket = sockets.at(-1);
  heard.length = 0;
  socket.frame({ type: 'table:updated', payload: { table: '7' } });
  assert.deepEqual(heard.sort(), [['*', '7', 'table:updated'], ['event', '7'], ['table:*', '7', 'table:updated'], ['table:updated', '7', 'table:updated']]);
  for (const off of [...offs, ...offs]) off();
  heard.length = 0;
  socket.frame({ type: 'table:updated', payload: { table: '8' } });
  assert.deepEqual(heard, [['event', '8']]);
  service.dispose();
});

test('a filter is remembered where there is no server to ask, and refused where the server has none', async () => {
  const service = new WebSocketService(options);
  const filter = { events: ['order:*', 'table:updated'], filters: { table_number: 4, station: ['bar'], statuses: 'new', order_ids: [] } };
  await service.setFilter(filter);
  const early = service.connect();
  await early;
  const auth = sockets.at(-1).sent.find(({ type }) => type === 'auth');
  assert.deepEqual(auth.subscribe, { events: filter.events, filters: { table_number: ['4'], station: ['bar'], statuses: ['new'], order_ids: [] } });
  const none = { code: 'protocol', message: /plain dialect, which has no filters/ };
  await assert.rejects(service.setFilter({ events: ['order:*'] }), none);
  await service.setFilter(null);
  service.disconnect();
  const connecting = service.connect();
  const waits = assert.rejects(service.setFilter(filter), none);
  await connecting;
  await waits;
  service.disconnect();
  const again = service.connect();
  const [first, second] = [service.setFilter({ events: ['a'] }), service.setFilter({ events: ['b'] })];
  await assert.rejects(first, { code: 'aborted', name: 'AbortError' });
  service.dispose();
  await assert.rejects(second, { code: 'disposed' });
  await assert.rejects(again, { code: 'disposed' });
  await assert.rejects(service.setFilter(null), { code: 'disposed' });
});

test('what is sent offline waits in the outbox; a plain server gets it once', async () => {
  const service = new WebSocketService(options);
  const seen = [];
  service.onOutbox((outbox) => seen.push(outbox.length));
  const sent = service.send('table:clear', { table: '7' }, { id: 'clear-7' });
  assert.deepEqual([sent.id, sent.status], ['clear-7', 'queued']);
  assert.deepEqual(service.outbox().map(({ id, type, status }) => ({ id, type, status })), [{ id: 'clear-7', type: 'table:clear', status: 'queued' }]);
  const withdrawn = service.send('table:clear', { table: '8' });
  assert.equal(withdrawn.cancel(), true);
  await assert.rejects(withdrawn.done, { code: 'aborted' });
  assert.deepEqual([withdrawn.status, withdrawn.cancel()], ['failed', false]);
  await service.connect();
  await sent.done;
  assert.equal(sent.status, 'done');
  assert.deepEqual(sockets.at(-1).sent.filter(({ type }) => type === 'table:clear').map(({ payload }) => payload), [{ table: '7' }]);
  assert.equal(seen.at(-1), 0);
  service.dispose();
});

test('an abort rejects with the signal\'s own reason', async () => {
  const service = new WebSocketService({ ...options, getToken: () => new Promise(() => {}) });
  const reason = new Error('the user left');
  await assert.rejects(service.connect({ signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const waiting = service.connect({ signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(waiting, reason);
  await assert.rejects(service.connect({ timeoutMs: 10 }), { code: 'connect_timeout', timeoutMs: 10 });
  service.dispose();
});

test('after dispose getters answer, cleaning up does nothing, the rest is disposed', async () => {
  const tautline = await createTautline({ ...options, lingerMs: 0 });
  const { service, manager, orders } = tautline;
  const off = service.on('error', () => {});
  orders.initialize();
  const lease = await manager.acquire();
  assert.deepEqual(manager.getStatus(), { isConnected: true, isConnecting: false, connectionCount: 1 });
  const away = new WebSocketService({ ...options, getToken: () => new Promise(() => {}) });
  const waiting = [away.connect(), away.send('table:clear').done, away.request('table:clear', {}, { timeoutMs: 60_000 }), new ConnectionManager(away).acquire(), new OrderUpdates(away).updateOrderStatus('1', 'ready')];
  const list = orders.orders();
  const { connects } = service.stats();
  tautline.dispose();
  tautline.dispose();
  away.dispose();
  for (const promise of waiting) await assert.rejects(promise, { code: 'disposed' });

  assert.equal(service.getConnectionState(), 'disconnected');
  assert.equal(service.isConnected(), false);
  assert.equal(service.stats().connects, connects);
  assert.equal(service.freshness().live, false);
  assert.deepEqual(service.outbox(), []);
  assert.equal(service.listenerCount('error'), 0);
  assert.deepEqual(manager.getStatus(), { isConnected: false, isConnecting: false, connectionCount: 0 });
  assert.deepEqual(orders.orders(), list);

  off();
  lease.release();
  service.off('error', () => {});
  service.on('error', () => {})();
  service.removeAllListeners();
  service.disconnect();
  manager.disconnect();
  manager.forceDisconnect();
  orders.cleanup();

  const disposed = { code: 'disposed' };
  await assert.rejects(service.connect(), disposed);
  await assert.rejects(service.request('a'), disposed);
  await assert.rejects(manager.acquire(), disposed);
  await assert.rejects(orders.fetchOrders(), disposed);
  await assert.rejects(orders.cancelOrder('1'), disposed);
  for (const call of [() => service.send('a'), () => service.reconnectNow(), () => service.setToken('t'), () => orders.initialize(), () => orders.requestSync(), () => new OrderUpdates(service)]) {
    assert.throws(call, disposed);
  }
});

test('a callback that throws or rejects is heard as an error, or on the console', async () => {
  const service = new WebSocketService(options);
  const [thrown, rejected] = [new Error('thrown'), new Error('rejected')];
  const after = [];
  service.subscribe('a', () => { throw thrown; });
  service.subscribe('a', async () => { throw rejected; });
  service.subscribe('a', () => after.push('delivery goes on'));
  await service.connect();
  const frame = async () => {
    sockets.at(-1).frame({ type: 'a', payload: {} });
    await settled();
  };
  await frame();
  const [, , { mock: said }] = consoles;
  assert.deepEqual(said.calls.map(({ arguments: [error] }) => [error.code, error.cause]), [['callback', thrown], ['callback', rejected]]);
  said.resetCalls();
  const heard = [];
  service.on('error', (error) => heard.push([error.code, error.cause]));
  await frame();
  assert.deepEqual(heard, [['callback', thrown], ['callback', rejected]]);
  assert.equal(after.length, 2);
  service.dispose();
});

test('every callback may call every method, take off others, add listeners', async () => {
  const tautline = await createTautline({ ...options, lingerMs: 60_000 });
  const { service, manager, orders } = tautline;
  const told = { calls: 0, later: 0, taken: 0 };
  let over = false;
  const call = () => {
    if (over) return;
    const ignore = (promise) => promise.then((lease) => lease?.release?.(), () => {});
    for (const promise of [service.connect(), service.request('a', {}, { timeoutMs: 50 }), manager.acquire(), manager.connect(), orders.updateOrderStatus('1', 'ready')]) ignore(promise);
    service.send('b').done.catch(() => {});
    manager.disconnect();
    orders.initialize();
    orders.requestSync();
    service.reconnectNow();
    service.setToken('another');
    for (const ask of [() => service.outbox(), () => service.stats(), () => service.freshness(), () => service.listenerCount('error'), () => orders.orders(), () => manager.getStatus(), () => service.getConnectionState(), () => resources.counts()]) ask();
    off();
    if (service.listenerCount('message') < 10) service.once('message', () => (told.later += 1));
    told.calls += 1;
  };
  const offs = [];
  const off = () => offs.splice(0).forEach((undo) => undo());
  for (const name of ['stateChange', 'connected', 'message', 'message:a']) service.on(name, call);
  offs.push(service.on('stateChange', () => (told.taken += 1)));
  service.subscribe('*', call);
  let calls = 0;
  service.onOutbox(() => (calls += 1) < 5 && call());
  orders.onOrders(() => (calls += 1) < 5 && call());
  orders.onOrderUpdate(call);
  await service.connect();
  sockets.at(-1).frame({ type: 'a', payload: {} });
  await settled();
  sockets.at(-1).frame({ type: 'order:created', payload: { order: { id: '1', status: 'new', items: [] } } });
  await settled();
  assert.ok(told.later > 0);
  assert.equal(told.taken, 0);
  assert.equal(service.isConnected(), true);
  over = true;
  tautline.dispose();
});

test('an object may be disposed in its own callback', async () => {
  const service = new WebSocketService(options);
  service.on('stateChange', () => service.dispose());
  await assert.rejects(service.connect(), { code: 'disposed' });
});

test('leases share one connection, and releasing is idempotent', async () => {
  const service = new WebSocketService(options);
  const [one, two] = [new ConnectionManager(service, { lingerMs: 0 }), new ConnectionManager(service, { lingerMs: 0 })];
  const before = sockets.length;
  const leases = await Promise.all([one.acquire(), one.acquire(), two.acquire()]);
  assert.equal(sockets.length, before + 1);
  assert.equal(resources.counts().lease, 3);
  leases[0].release();
  leases[0].release();
  leases[1][Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
  assert.equal(service.isConnected(), true);
  leases[2].release();
  await until(() => service.getConnectionState() === 'disconnected');
  for (const object of [one, two, service]) object.dispose();
});

test('a lease that nobody released is released when it is collected, with one warning that names its place', async () => {
  const service = new WebSocketService(options);
  const manager = new ConnectionManager(service, { lingerMs: 0 });
  await (async () => void (await manager.acquire()))();
  assert.equal(manager.getStatus().connectionCount, 1);
  await until(() => {
    collectGarbage();
    return manager.getStatus().connectionCount === 0;
  });
  const warned = consoles.find(({ mock }) => mock.callCount() > 0).mock;
  assert.equal(warned.callCount(), 1);
  assert.match(warned.calls[0].arguments[0], /a lease was never released[\s\S]*module\.test\.mjs/);
  warned.resetCalls();

  // One that a disposed manager has let go of already says nothing: afterEach looks.
  await (async () => void (await manager.acquire()))();
  for (const object of [manager, service]) object.dispose();
  for (let n = 0; n < 5; n += 1) {
    collectGarbage();
    await settled();
  }
});

test('shutdownAll ends every object, and new ones can be made', async () => {
  const { service, manager, orders } = await createTautline(options);
  orders.initialize();
  await manager.acquire();
  await resources.shutdownAll();
  assert.deepEqual(held(), []);
  await assert.rejects(service.connect(), { code: 'disposed' });
  const again = new WebSocketService(options);
  await again.connect();
  again.dispose();
});
