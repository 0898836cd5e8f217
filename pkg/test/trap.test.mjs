// A trap of the real module: nothing stays live, every object says so, and nothing enters it again.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { mock, test } from 'node:test';
import { FakeWebSocket, sockets } from './fake-socket.mjs';
import { createTautline, default as init, initSync, resources, WebSocketService } from '../dist/index.js';
import { provokeTrap } from '../wasm/tautline.js';

globalThis.WebSocket = FakeWebSocket;
initSync(await readFile(new URL('../wasm/tautline_bg.wasm', import.meta.url)));

test('a trap leaves nothing live', async () => {
  const said = mock.method(console, 'error', () => {});
  const tautline = await createTautline({ url: 'ws://relay.example/ws', getToken: () => 'token' });
  const { service, manager, orders } = tautline;
  const states = [];
  const errors = [];
  service.on('stateChange', (state) => states.push(state));
  service.once('error', (error) => errors.push(error));
  orders.initialize();
  const lease = await manager.acquire();
  const waiting = new WebSocketService({ url: 'ws://relay.example/ws', getToken: () => new Promise(() => {}) });
  const pending = [waiting.connect(), service.messages('*').next()];
  assert.ok(resources.list().length > 0);

  assert.throws(() => provokeTrap());
  for (const promise of pending) await assert.rejects(promise, { code: 'internal' });

  assert.deepEqual(resources.list(), []);
  assert.ok(sockets.every(({ readyState }) => readyState >= FakeWebSocket.CLOSING));
  assert.deepEqual(states, ['connecting', 'connected', 'error']);
  assert.deepEqual(errors.map(({ code }) => code), ['internal']);
  assert.match(errors[0].message, /provoked.*Reload the page/);
  assert.deepEqual(said.mock.calls.map((call) => call.arguments), []);
  said.mock.restore();

  assert.equal(service.getConnectionState(), 'error');
  assert.equal(service.isConnected(), false);
  assert.equal(service.stats().connects, 0);
  lease.release();
  service.disconnect();
  const internal = { code: 'internal' };
  await assert.rejects(service.connect(), internal);
  await assert.rejects(orders.createOrder({ type: 'dine-in', items: [{}] }), internal);
  await assert.rejects(init(), internal);
  assert.throws(() => service.send('a'), internal);
  assert.throws(() => new WebSocketService(), internal);
  tautline.dispose();
  tautline.dispose();
  await new Promise((resolve) => setTimeout(resolve, 20));
});
