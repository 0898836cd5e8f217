// `messages()`: what comes, to be iterated, over the real module.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { afterEach, mock, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { FakeWebSocket, sockets } from './fake-socket.mjs';
import { initSync, resources, WebSocketService } from '../dist/index.js';

globalThis.WebSocket = FakeWebSocket;
initSync(await readFile(new URL('../wasm/tautline_bg.wasm', import.meta.url)));
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

async function connected() {
  const service = new WebSocketService({ url: 'ws://relay.example/ws', getToken: () => 'token', reconnectInterval: 100 });
  await service.connect();
  return service;
}

const come = (...tables) => {
  for (const table of tables) sockets.at(-1).frame({ type: 'table:updated', payload: { table } });
};
const tableOf = ({ value }) => value.payload.table;
const iterators = () => resources.counts().iterator;

afterEach(async () => {
  for (let n = 0; resources.list().length > 0; n += 1) {
    assert.ok(n < 100, JSON.stringify(resources.list()));
    await settled();
  }
});

test('a loop takes each message once, in order, over a reconnect, however long it takes', async () => {
  const service = await connected();
  const taken = [];
  const loop = (async () => {
    for await (const { payload, type } of service.messages('table:*')) {
      taken.push([type, payload.table]);
      await settled();
      if (payload.table === 5) break;
    }
  })();
  come(1, 2, 3);
  sockets.at(-1).frame({ type: 'other', payload: {} });
  const back = new Promise((resolve) => service.once('connected', resolve));
  sockets.at(-1).cut();
  await back;
  come(4, 5, 6);
  await loop;
  assert.deepEqual(taken, [1, 2, 3, 4, 5].map((table) => ['table:updated', table]));
  assert.equal(iterators(), 0);
  service.dispose();
});

test('it begins with the first next(), and each call has a buffer of its own', async () => {
  const service = await connected();
  const [one, other] = [service.messages('table:updated'), service.messages('*')];
  come(1);
  assert.equal(iterators(), 0);
  const waiting = [one.next(), one.next(), other.next()];
  assert.equal(iterators(), 2);
  come(2, 3);
  assert.deepEqual((await Promise.all(waiting)).map(tableOf), [2, 3, 2]);
  assert.equal(tableOf(await other.next()), 3);
  assert.deepEqual(await one.return(), { done: true, value: undefined });
  assert.deepEqual(await one.next(), { done: true, value: undefined });
  assert.equal(iterators(), 1);
  service.dispose();
});

test('a signal ends it with its reason, the service quietly, after what had come', async () => {
  const service = await connected();
  const controller = new AbortController();
  const aborted = service.messages('*', { signal: controller.signal });
  const waiting = aborted.next();
  const lasting = service.messages('*');
  const first = lasting.next();
  come(1, 2);
  assert.equal(tableOf(await first), 1);
  await waiting;
  const pending = aborted.next().then(() => aborted.next());
  controller.abort(new Error('enough'));
  await assert.rejects(pending, /enough/);
  assert.deepEqual(await aborted.next(), { done: true, value: undefined });
  await assert.rejects(service.messages('*', { signal: controller.signal }).next(), /enough/);

  const idle = service.messages('*');
  const [end, more] = [idle.next(), idle.next()];
  service.dispose();
  assert.deepEqual(await Promise.all([end, more]), [{ done: true, value: undefined }, { done: true, value: undefined }]);
  assert.equal(tableOf(await lasting.next()), 2);
  assert.equal((await lasting.next()).done, true);
  assert.throws(() => service.messages('*'), { code: 'disposed' });
});

test('more than may wait: it ends with overflow, or the oldest go', async () => {
  const service = await connected();
  const [ends, drops] = [service.messages('*', { limit: 2 }), service.messages('*', { limit: 2, onOverflow: 'drop-oldest' })];
  const first = Promise.all([ends.next(), drops.next()]);
  come(0);
  await first;
  come(1, 2, 3);
  await assert.rejects(ends.next(), { code: 'overflow', message: /over 2 came/ });
  assert.equal((await ends.next()).done, true);
  assert.deepEqual([tableOf(await drops.next()), tableOf(await drops.next())], [2, 3]);
  assert.equal(iterators(), 1);
  service.dispose();
});

test('arguments are checked', async () => {
  const service = await connected();
  for (const [call, message] of [
    [() => service.messages('order*'), /messages\(type\) takes a type/],
    [() => service.messages('*', { limit: 0 }), /messages\(\{limit\}\) takes a whole number of at least 1/],
    [() => service.messages('*', { onOverflow: 'wait' }), /throw, drop-oldest/],
    [() => service.messages('*', { signal: {} }), /AbortSignal/],
  ]) assert.throws(call, (error) => error.code === 'invalid_argument' && message.test(error.message), String(call));
  service.dispose();
});

test('one that is forgotten before its end is ended and reported once; one that waits is not', async () => {
  const warn = mock.method(console, 'warn', () => {});
  const service = await connected();
  const taken = [];
  void (async () => {
    for await (const { payload } of service.messages('*')) taken.push(payload.table);
  })();
  await (async () => {
    const left = service.messages('*');
    const first = left.next();
    come(1);
    await first;
  })();
  for (let n = 0; iterators() > 1; n += 1) {
    assert.ok(n < 100, 'in time');
    collectGarbage();
    await settled();
  }
  assert.equal(warn.mock.callCount(), 1);
  assert.match(warn.mock.calls[0].arguments[0], /messages\(\) was forgotten[\s\S]*messages\.test\.mjs/);
  for (let n = 0; n < 5; n += 1) {
    collectGarbage();
    await settled();
  }
  come(2);
  await settled();
  assert.deepEqual(taken, [1, 2]);
  service.dispose();
  warn.mock.restore();
});

test('a loop that waits does not keep a service that nobody can reach', async () => {
  const warn = mock.method(console, 'warn', () => {});
  await (async () => {
    const service = await connected();
    void service.messages('*').next();
    service.disconnect();
  })();
  for (let n = 0; resources.list().length > 0; n += 1) {
    assert.ok(n < 100, JSON.stringify(resources.list().map(({ kind, owner }) => `${kind} ${owner}`)));
    collectGarbage();
    await settled();
  }
  assert.equal(warn.mock.callCount(), 1);
  assert.match(warn.mock.calls[0].arguments[0], /WebSocketService was forgotten/);
  warn.mock.restore();
});
