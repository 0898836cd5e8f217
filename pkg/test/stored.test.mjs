// `outboxStorage` where there is no storage: under Node, with the fake server of ./fake-socket.mjs, which speaks the plain dialect.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FakeWebSocket, sockets } from './fake-socket.mjs';
import { initSync, resources, WebSocketPool, WebSocketService } from '../dist/index.js';

globalThis.WebSocket = FakeWebSocket;
initSync(await readFile(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));

const options = { url: 'ws://relay.example/ws', restaurantId: 'grow', getToken: () => 'token', outboxStorage: 'indexeddb' };
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));
const written = () => sockets.at(-1).sent.filter(({ type }) => type.startsWith('kds:')).map(({ payload }) => payload.n);

afterEach(async () => {
  for (let n = 0; resources.list().length > 0; n += 1) {
    assert.ok(n < 400, JSON.stringify(resources.list()));
    await settled();
  }
});

test('arguments are checked, and the message says what to pass instead', () => {
  assert.throws(() => new WebSocketService({ ...options, outboxStorage: 'localstorage' }), { code: 'invalid_argument', message: /outboxStorage.*memory, indexeddb/ });
  assert.throws(() => new WebSocketPool({ urls: [options.url], outboxStorage: 'indexeddb' }), { code: 'invalid_argument', message: /takes no outboxStorage/ });
  const service = new WebSocketService(options);
  service.on('error', () => {});
  for (const call of [() => service.retry(), () => service.retry('nobody'), () => service.discard(5)]) assert.throws(call, { code: 'invalid_argument' });
  assert.equal(service.discard('nobody'), false);
  service.dispose();
  assert.throws(() => service.retry('nobody'), { code: 'disposed' });
  assert.equal(service.discard('nobody'), false);
  assert.deepEqual(service.outbox(), []);
});

test('without IndexedDB memory has to do, and an error event says so once', async () => {
  const service = new WebSocketService(options);
  const errors = [];
  service.on('error', ({ code, message, retryable }) => errors.push([code, /https:/.test(message), retryable]));
  const sent = [1, 2].map((n) => service.send('kds:update', { n }).done);
  assert.equal(service.outbox().length, 2);
  await service.connect();
  await Promise.all(sent);
  await service.send('kds:update', { n: 3 }).done;
  assert.deepEqual(written(), [1, 2, 3]);
  assert.deepEqual(errors, [['storage_unavailable', true, false]]);
  service.dispose();
});

test('in memory, which is the default, nothing is said of storage', async () => {
  const service = new WebSocketService({ ...options, outboxStorage: 'memory' });
  const errors = [];
  service.on('error', (error) => errors.push(error));
  await service.connect();
  await service.send('kds:update', { n: 1 }).done;
  assert.deepEqual(written(), [1]);
  assert.throws(() => service.retry('nobody'), { code: 'invalid_argument' });
  assert.deepEqual(errors, []);
  service.dispose();
});
