// What a page forgets without ending it: found by the collector, ended, reported once. What works for somebody is let be.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { afterEach, mock, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FakeWebSocket, sockets } from './fake-socket.mjs';
import { ConnectionManager, createTautline, initSync, OrderUpdates, resources, VoiceConnection, WebSocketPool, WebSocketService } from '../dist/index.js';

globalThis.WebSocket = FakeWebSocket;
const warn = mock.method(console, 'warn', () => {});
initSync(await readFile(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');

const options = { url: 'ws://relay.example/ws', restaurantId: 'grow', getToken: () => 'token' };
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

/** Collects until it is so. */
async function collected(condition) {
  for (let n = 0; !condition(); n += 1) {
    assert.ok(n < 100, `in time: ${condition}; held: ${JSON.stringify(resources.list().map(({ kind, owner }) => `${kind} ${owner}`))}`);
    collectGarbage();
    await settled();
  }
}

/** As often as it takes the others to go, several times over: what is still there then stays. */
async function collectedOften() {
  for (let n = 0; n < 8; n += 1) {
    collectGarbage();
    await settled();
  }
}

/** The names that were reported; each with the place it was made at. */
function reported() {
  const names = warn.mock.calls.map(({ arguments: [text] }) => {
    assert.match(text, /forgotten\.test\.mjs/, 'its place');
    return text.match(/^tautline: a (\w+) was forgotten without dispose\(\); it is ended now/)?.[1] ?? text;
  });
  warn.mock.resetCalls();
  return names;
}

const nothing = () => resources.list().length === 0;

afterEach(async () => {
  await collected(nothing);
  assert.deepEqual(reported(), [], 'nothing more than the test says');
  assert.equal(globalThis[Symbol.for('tautline.resources')].objects.size, 0, 'objects that are listed');
});

test('a service whose outbox is stored is ended like any other', async (context) => {
  // There is no storage here, which nobody hears.
  const error = context.mock.method(console, 'error', () => {});
  await (async () => {
    const service = new WebSocketService({ ...options, outboxStorage: 'indexeddb' });
    await service.connect();
    await service.send('kds:update', {}).done;
  })();
  assert.deepEqual(error.mock.calls.map(({ arguments: [{ code }] }) => code), ['storage_unavailable']);
  error.mock.resetCalls(); // an error holds those in whose methods it was made
  await collected(nothing);
  assert.deepEqual(reported(), ['WebSocketService']);
});

test('a connected service that nobody can reach is ended, and reported once', async () => {
  await (async () => {
    const service = new WebSocketService(options);
    await service.connect();
  })();
  assert.equal(resources.counts().socket, 1);
  await collected(nothing);
  assert.deepEqual(reported(), ['WebSocketService']);
  await collectedOften();
  assert.deepEqual(reported(), []);
});

test('a connected pool that nobody can reach is ended with all of its connections, and reported once', async () => {
  await (async () => {
    const pool = new WebSocketPool({ ...options, url: undefined, urls: ['ws://one.example/ws', 'ws://two.example/ws'] });
    await pool.connect();
  })();
  assert.ok(resources.counts().socket >= 1);
  await collected(nothing);
  assert.deepEqual(reported(), ['WebSocketPool']);
});

test('one that was never used too', async () => {
  (() => void new WebSocketService(options))();
  (() => void new VoiceConnection({ relay: 'https://relay.example' }))();
  await collected(() => warn.mock.callCount() === 2);
  assert.deepEqual(reported().sort(), ['VoiceConnection', 'WebSocketService']);
});

test('what is disposed of is not reported', async () => {
  (() => {
    const service = new WebSocketService(options);
    for (const object of [new OrderUpdates(service), new ConnectionManager(service), new VoiceConnection({}), service]) object.dispose();
  })();
  await collectedOften();
});

test('a service with a listener works on, and its listener hears it', async () => {
  const heard = [];
  const off = await (async () => {
    const service = new WebSocketService(options);
    service.subscribe('order:*', (payload) => heard.push(payload));
    // The function that ends it leads to the service's listeners, not to the service.
    const end = service.on('latency', () => {});
    await service.connect();
    end();
    return () => {};
  })();
  off();
  await collectedOften();
  assert.equal(resources.counts().socket, 1);
  sockets.at(-1).frame({ type: 'order:created', payload: 1 });
  assert.deepEqual(heard, [1]);
  assert.deepEqual(reported(), []);
  await resources.shutdownAll();
});

test('a service whose last listener has gone is forgotten like any other', async () => {
  let off;
  await (async () => {
    const service = new WebSocketService(options);
    service.once('message', () => {});
    off = service.on('stateChange', () => {});
    await service.connect();
  })();
  off();
  off = undefined;
  await collectedOften();
  assert.equal(resources.counts().socket, 1, 'somebody waits for a message');
  sockets.at(-1).frame({ type: 'kds:update', payload: {} });
  await collected(nothing);
  assert.deepEqual(reported(), ['WebSocketService']);
});

test('an object at rest goes with its listeners, though they and its functions lead to it', async () => {
  await (async () => {
    const service = new WebSocketService({ ...options, getToken: () => (service.isConnected() ? 'other' : 'token'), url: () => (service.stats(), options.url) });
    service.on('message', () => service.stats());
    service.subscribe('*', () => service.disconnect());
    await service.connect();
    service.disconnect();
    const call = new VoiceConnection({ getToken: () => call.isMuted() && 'ek_secret' });
    call.on('error', () => call.dispose());
    await call.connect().catch(() => {});
    assert.equal(call.getConnectionState(), 'error');
  })();
  await collected(() => warn.mock.callCount() === 2);
  assert.deepEqual(reported().sort(), ['VoiceConnection', 'WebSocketService']);
});

test('a message that waits in the outbox of an object at rest does not keep it, and is rejected', async () => {
  let done;
  (() => {
    const service = new WebSocketService(options);
    done = service.send('note', {}).done.catch(({ code }) => code);
  })();
  await collected(() => warn.mock.callCount() === 1);
  assert.deepEqual(reported(), ['WebSocketService']);
  assert.equal(await done, 'disposed');
});

test('what waits for an answer is not forgotten', async () => {
  let give;
  let connected = false;
  (() => {
    const service = new WebSocketService({ ...options, getToken: () => new Promise((resolve) => (give = resolve)) });
    void service.connect().then(() => (connected = true));
  })();
  await collectedOften();
  assert.deepEqual(reported(), []);
  give('token');
  await collected(() => connected);
  await collected(nothing);
  assert.deepEqual(reported(), ['WebSocketService']);
});

test('an order set without callbacks is ended, its service is not', async () => {
  const service = new WebSocketService(options);
  (() => new OrderUpdates(service).initialize())();
  await service.connect();
  await collected(() => warn.mock.callCount() > 0);
  assert.deepEqual(reported(), ['OrderUpdates']);
  assert.ok(service.isConnected());
  service.dispose();
});

test('an order set with callbacks works on as long as its service does, and keeps it', async () => {
  const heard = [];
  await (async () => {
    const service = new WebSocketService(options);
    const orders = new OrderUpdates(service);
    orders.onOrderUpdate(({ orderId }) => heard.push(orderId));
    orders.initialize();
    await service.connect();
  })();
  await collectedOften();
  const order = { id: 'a', status: 'new', items: [], total: 1, timestamp: '2026-01-01T00:00:00Z' };
  sockets.at(-1).frame({ type: 'order:created', payload: { order } });
  assert.deepEqual(heard, ['a']);
  assert.deepEqual(reported(), []);
  await resources.shutdownAll();
});

test('a manager is ended with those who came by connect(); its service is not', async () => {
  const service = new WebSocketService(options);
  await (async () => {
    await new ConnectionManager(service, { lingerMs: 0 }).connect();
  })();
  assert.equal(resources.counts().lease, 1);
  await collected(() => resources.counts().lease === 0);
  assert.deepEqual(reported(), ['ConnectionManager']);
  assert.equal(service.getConnectionState(), 'disconnected');
  await service.connect();
  service.dispose();
});

test('a lease keeps its manager, and the manager its service', async () => {
  let lease = await (async () => {
    const service = new WebSocketService(options);
    return new ConnectionManager(service).acquire();
  })();
  await collectedOften();
  assert.equal(resources.counts().socket, 1);
  assert.deepEqual(reported(), []);
  lease.release();
  lease = undefined;
  await collected(nothing);
  assert.deepEqual(reported(), ['WebSocketService'], 'the service speaks for what was made on it');
});

test('what was made together and forgotten together is reported once', async () => {
  await (async () => {
    const { orders, service } = await createTautline(options);
    orders.initialize();
    await service.connect();
  })();
  await collected(nothing);
  await collectedOften();
  assert.deepEqual(reported(), ['WebSocketService']);
});

test('a service that is over leaves nothing to report of what was made on it', async () => {
  (() => {
    const service = new WebSocketService(options);
    new OrderUpdates(service).initialize();
    new ConnectionManager(service);
    service.dispose();
  })();
  await collectedOften();
});
