// The defects of the client that this one replaces, each in a test that bears its name. Those of the server's half are in
// crates/relay/tests/voice/predecessor.rs.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FakeWebSocket, sockets } from './fake-socket.mjs';
import { Emitter } from '../dist/emitter.js';
import { initSync, resources, WebSocketService } from '../dist/index.js';

/** Listeners on sockets that nobody took off, by the browser's own API. */
let listening = 0;
class CountedWebSocket extends FakeWebSocket {
  #listeners = new Map();

  addEventListener(type, listener, options) {
    super.addEventListener(type, listener, options);
    if (!this.#listeners.get(type)?.has(listener)) listening += 1;
    this.#listeners.set(type, (this.#listeners.get(type) ?? new Set()).add(listener));
  }

  removeEventListener(type, listener, options) {
    super.removeEventListener(type, listener, options);
    if (this.#listeners.get(type)?.delete(listener)) listening -= 1;
  }
}

globalThis.WebSocket = CountedWebSocket;
initSync(await readFile(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));

const options = { url: 'ws://relay.example/ws', restaurantId: 'grow', getToken: () => 'token', reconnectInterval: 1 };
const event = (object, name) => new Promise((resolve) => object.once(name, resolve));
const emitter = () => new Emitter({ named: () => 'test', failed: (cause) => assert.fail(String(cause)), warn: assert.fail, full: assert.fail, changed() {} });

async function gone() {
  for (let n = 0; resources.list().length > 0; n += 1) {
    assert.ok(n < 400, JSON.stringify(resources.list()));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Cut and come back, so often. */
async function reconnected(service, times, each = () => {}) {
  for (let n = 0; n < times; n += 1) {
    const back = event(service, 'connected');
    sockets.at(-1).cut();
    await back;
    each();
  }
}

test('defect: `on` where `once` is meant', () => {
  const events = emitter();
  let told = 0;
  events.add('ready', () => {
    told += 1;
    // Told again from inside: still once.
    events.emit('ready', undefined);
  }, true);
  for (let n = 0; n < 3; n += 1) events.emit('ready', undefined);
  assert.equal(told, 1);
  assert.equal(events.count('ready'), 0);
});

test('defect: an emit that never ends because a listener re-adds itself', () => {
  const events = emitter();
  let told = 0;
  const again = () => {
    told += 1;
    if (told > 10) assert.fail('the emit does not end');
    events.add('state', again, true);
  };
  events.add('state', again, true);
  events.emit('state', 1);
  assert.equal(told, 1, 'first called at the next event');
  events.emit('state', 2);
  assert.equal(told, 2);
  assert.equal(events.count('state'), 1);
});

test('defect: listeners added at each reconnect', async () => {
  const service = new WebSocketService(options);
  const before = listening;
  await service.connect();
  const once = [listening - before, resources.counts().listener];
  await reconnected(service, 5, () => assert.deepEqual([listening - before, resources.counts().listener], once));
  service.dispose();
  await gone();
  assert.equal(listening, before, 'and none is left');
});

test('defect: all listeners lost at a disconnect', async () => {
  const service = new WebSocketService(options);
  const heard = [];
  service.on('stateChange', (state) => heard.push(state));
  service.subscribe('menu:updated', ({ text }) => heard.push(text));
  await service.connect();
  await reconnected(service, 2);
  service.disconnect();
  heard.length = 0;
  await service.connect();
  sockets.at(-1).frame({ type: 'menu:updated', payload: { text: 'still here' } });
  assert.deepEqual(heard, ['connecting', 'connected', 'still here']);
  service.dispose();
  await gone();
});

test('defect: pending timers after a disconnect', async () => {
  const service = new WebSocketService({ ...options, reconnectInterval: 60_000 });
  await service.connect();
  service.disconnect();
  assert.equal(resources.counts().timer, 0, 'of a connection that was there');
  await service.connect();
  const waits = event(service, 'stateChange');
  sockets.at(-1).cut();
  await waits;
  assert.equal(resources.counts().timer > 0, true, 'it waits to come back');
  service.disconnect();
  assert.equal(resources.counts().timer, 0, 'of one that was waited for');
  service.dispose();
  await gone();
});
