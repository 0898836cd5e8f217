// The pool's layer over the real module, under Node: the fake server of ./fake-socket.mjs, which speaks the plain dialect.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { afterEach, mock, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FakeWebSocket, sockets } from './fake-socket.mjs';
import { initSync, resources, TautlineError, WebSocketPool } from '../dist/index.js';

globalThis.WebSocket = FakeWebSocket;
const consoles = ['log', 'warn', 'error', 'info', 'debug'].map((name) => mock.method(console, name));
initSync(await readFile(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));

const urls = ['ws://one.example/ws', 'ws://two.example/ws', 'ws://three.example/ws'];
const options = { urls, restaurantId: 'grow', getToken: () => 'token' };
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));
/** The newest socket to that host. */
const at = (host) => sockets.findLast(({ url }) => url.includes(`${host}.example`));
const types = (socket) => socket.sent.map(({ type }) => type).filter((type) => type.startsWith('kds:'));

/** Bounded, by condition. */
async function until(condition) {
  for (let n = 0; !condition(); n += 1) {
    assert.ok(n < 400, `in time: ${condition}`);
    await settled();
  }
}

/** A pool whose connections are all up. */
async function connected(more = {}) {
  const pool = new WebSocketPool({ ...options, ...more });
  await pool.connect();
  await until(() => pool.getHealthStatus().every(({ state }) => state === 'connected'));
  return pool;
}

afterEach(async () => {
  await until(() => resources.list().length === 0).catch(() => assert.deepEqual(resources.list(), []));
  const said = consoles.flatMap(({ mock }) => mock.calls.map((call) => call.arguments));
  for (const { mock } of consoles) mock.resetCalls();
  assert.deepEqual(said, []);
});

test('arguments are checked, and the message says what to pass instead', async () => {
  const wrong = [
    [{}, /urls takes an array of at least one address/],
    [{ urls: [] }, /at least one address/],
    [{ urls: 'wss://a.example' }, /urls takes an array.*got "wss/],
    [{ urls: ['wss://a.example', 'wss://a.example'] }, /each once/],
    [{ urls: ['ftp://a.example'] }, /ws:, wss:, http: or https: address/],
    [{ urls: [() => 'wss://a.example'] }, /urls takes a string/],
    [{ urls, url: 'wss://a.example' }, /takes urls in place/],
    [{ urls, outboxLimit: 5 }, /takes messageQueueSize in place/],
    [{ urls, maxConnections: 0 }, /maxConnections takes a whole number of at least 1/],
    [{ urls, share: 'device' }, /takes no share/],
    [{ urls, loadBalancingStrategy: 'random' }, /one of health-based, round-robin, least-pending/],
    [{ urls, enableFailover: 'yes' }, /true or false/],
    [{ urls, healthCheckInterval: 100 }, /at least 1000/],
    [{ urls, messageQueueSize: 0 }, /messageQueueSize takes a whole number of at least 1/],
    [{ urls, reconnectInterval: '2s' }, /reconnectInterval takes milliseconds/],
    [undefined, /urls/],
  ];
  for (const [given, message] of wrong) {
    assert.throws(() => new WebSocketPool(given), (error) => error instanceof TautlineError && error.code === 'invalid_argument' && message.test(error.message), JSON.stringify(given));
  }
  const pool = new WebSocketPool(options);
  for (const pattern of ['order*', '', undefined, 5]) assert.throws(() => pool.subscribe(pattern, () => {}), { code: 'invalid_argument' });
  assert.throws(() => pool.subscribe(/order/), { code: 'invalid_argument' });
  const rejected = [
    [undefined, /send\(\{type\}\)/],
    [{ type: 'a', data: 1n }, /JSON can hold/],
    [{ type: 'a', priority: 5 }, /one of high, normal, low; got 5/],
    [{ type: 'a', id: 'no spaces' }, /A-Z a-z 0-9/],
    [{ type: 'a', signal: {} }, /AbortSignal/],
  ];
  for (const [given, message] of rejected) await assert.rejects(pool.send(given), (error) => error.code === 'invalid_argument' && message.test(error.message), String(message));
  pool.dispose();
});

test('one connection an address, and the rest are spare', async () => {
  const before = sockets.length;
  const pool = new WebSocketPool({ ...options, maxConnections: 2 });
  const states = [];
  pool.on('stateChange', (state) => states.push(state));
  await Promise.all([pool.connect(), pool.connect()]);
  await until(() => pool.getHealthStatus().filter(({ healthy }) => healthy).length === 2);
  assert.equal(sockets.length - before, 2);
  assert.deepEqual(pool.getHealthStatus().map(({ url, state }) => [url, state]), [[urls[0], 'connected'], [urls[1], 'connected'], [urls[2], 'disconnected']]);
  at('one').cut();
  await until(() => pool.getHealthStatus()[2].healthy);
  assert.deepEqual(pool.getHealthStatus().map(({ state }) => state), ['disconnected', 'connected', 'connected']);
  assert.equal(pool.getHealthStatus()[0].failures, 1);
  assert.ok(pool.isConnected());
  assert.deepEqual(states, ['connecting', 'connected']);
  pool.disconnect();
  assert.deepEqual([states.at(-1), pool.isConnected()], ['disconnected', false]);
  pool.dispose();
});

test('messages without a number come from the primary, and after failover from the next', async () => {
  const pool = await connected();
  const heard = [];
  const told = [];
  pool.subscribe('kds:update', (payload) => heard.push(payload));
  pool.on('failover', (event) => told.push(event));
  const say = (payload) => ['one', 'two', 'three'].forEach((host) => at(host).frame({ type: 'kds:update', payload }));
  say(1);
  assert.deepEqual(heard, [1]);
  const primary = pool.getHealthStatus().findIndex((member) => member.primary);
  at(['one', 'two', 'three'][primary]).cut();
  say(2);
  assert.deepEqual(heard, [1, 2]);
  const next = pool.getHealthStatus().findIndex((member) => member.primary);
  assert.deepEqual(told, [{ from: urls[primary], to: urls[next] }]);
  assert.deepEqual([pool.getHealthStatus()[primary].healthy, pool.getStatistics().failovers], [false, 1]);
  pool.dispose();
});

test('patterns: a type, a prefix, all, a regular expression', async () => {
  const pool = await connected({ urls: urls.slice(0, 1) });
  const heard = { exact: [], prefix: [], all: [], expression: [], on: [], sticky: [] };
  const note = (name) => (payload, message) => heard[name].push(message.type);
  pool.subscribe('order:created', note('exact'));
  pool.subscribe('order:*', note('prefix'));
  const off = pool.subscribe('*', note('all'));
  pool.subscribe(/^(order|table):(created|updated)$/i, note('expression'));
  pool.subscribe(/order/gy, note('sticky'));
  pool.on('message:table:updated', ({ type }) => heard.on.push(type));
  const say = (...all) => all.forEach((type) => at('one').frame({ type, payload: {} }));
  say('order:created', 'ORDER:CREATED', 'table:updated', 'order:created', 'kds:update');
  off();
  off();
  say('order:deleted');
  assert.deepEqual(heard, {
    exact: ['order:created', 'order:created'],
    prefix: ['order:created', 'order:created', 'order:deleted'],
    all: ['order:created', 'ORDER:CREATED', 'table:updated', 'order:created', 'kds:update'],
    expression: ['order:created', 'ORDER:CREATED', 'table:updated', 'order:created'],
    on: ['table:updated'],
    sticky: ['order:created', 'order:created', 'order:deleted'],
  });
  pool.dispose();
});

test('each in its turn, and never to one that is gone', async () => {
  const pool = await connected({ loadBalancingStrategy: 'round-robin' });
  for (let n = 0; n < 4; n += 1) await pool.send({ type: `kds:${n}` });
  assert.deepEqual(['one', 'two', 'three'].map((host) => types(at(host))), [['kds:0', 'kds:3'], ['kds:1'], ['kds:2']]);
  const two = at('two');
  two.cut();
  for (let n = 4; n < 6; n += 1) await pool.send({ type: `kds:${n}`, data: { n } });
  assert.deepEqual([types(at('three')).at(-1), types(at('one')).at(-1), types(two).length], ['kds:4', 'kds:5', 1]);
  assert.deepEqual(at('one').sent.at(-1).payload, { n: 5 });
  assert.deepEqual([pool.getStatistics().sent, pool.getStatistics().settled, pool.getStatistics().queued], [6, 6, 0]);
  pool.dispose();
});

test('what waits goes by its priority; a full queue, an abort and the end are said', async () => {
  const pool = new WebSocketPool({ ...options, messageQueueSize: 5 });
  const done = [['low', 'a'], [undefined, 'b'], ['high', 'c']].map(([priority, name]) => pool.send({ type: `kds:${name}`, priority }));
  const controller = new AbortController();
  const given = pool.send({ type: 'kds:d', signal: controller.signal });
  const late = pool.send({ type: 'kds:e', ttlMs: 0 });
  await assert.rejects(pool.send({ type: 'kds:f' }), { code: 'outbox_full', outcome: 'not_sent' });
  controller.abort(new Error('enough'));
  await assert.rejects(given, /enough/);
  await assert.rejects(pool.send({ type: 'kds:g', signal: controller.signal }), /enough/);
  const expired = assert.rejects(late, { code: 'outbox_expired', outcome: 'not_sent' });
  await pool.connect();
  await Promise.all([...done, expired]);
  const order = sockets.slice(-3).map(types).find((sent) => sent.length > 0);
  assert.deepEqual(order, ['kds:c', 'kds:b', 'kds:a']);
  pool.disconnect();
  const pending = assert.rejects(pool.send({ type: 'kds:h' }), { code: 'disposed' });
  pool.dispose();
  await pending;
  await assert.rejects(pool.send({ type: 'kds:i' }), { code: 'disposed' });
  await assert.rejects(pool.connect(), { code: 'disposed' });
});

test('waits end by signal, by time, by disconnect, and never unhandled', async () => {
  const pool = new WebSocketPool({ ...options, getToken: () => new Promise(() => {}) });
  await assert.rejects(pool.connect({ signal: AbortSignal.abort() }), { name: 'AbortError' });
  const signal = AbortSignal.timeout(5);
  await assert.rejects(pool.connect({ signal }), { name: 'TimeoutError' });
  await assert.rejects(pool.connect({ timeoutMs: 5 }), { code: 'connect_timeout', timeoutMs: 5 });
  const waiting = assert.rejects(pool.connect(), { code: 'aborted' });
  pool.disconnect();
  await waiting;
  pool.dispose();
});

test('refused everywhere is refused', async () => {
  let signedIn = false;
  const pool = new WebSocketPool({ ...options, maxReconnectAttempts: 1, reconnectInterval: 1, getToken: () => (signedIn ? 'token' : null) });
  pool.on('error', () => {});
  await assert.rejects(pool.connect(), (error) => error instanceof TautlineError && error.code === 'connect_failed');
  assert.equal(pool.getConnectionState(), 'error');
  signedIn = true;
  await pool.connect();
  assert.ok(pool.isConnected());
  pool.dispose();
});

test('listeners may do anything, the pool too may be disposed by one', async () => {
  const pool = await connected();
  const heard = [];
  pool.once('health', ({ url, healthy }) => heard.push([url, healthy]));
  pool.subscribe('*', () => {
    pool.dispose();
    pool.send({ type: 'kds:x' }).catch(({ code }) => heard.push(code));
  });
  at('three').cut();
  assert.deepEqual(heard, [[urls[2], false]]);
  at(['one', 'two'][pool.getHealthStatus().findIndex((member) => member.primary)]).frame({ type: 'kds:update', payload: {} });
  await settled();
  assert.deepEqual(heard.at(-1), 'disposed');
  assert.equal(pool.getConnectionState(), 'disconnected');
  assert.deepEqual(pool.getHealthStatus().map(({ state, healthy }) => [state, healthy]), urls.map(() => ['disconnected', false]));
  assert.equal(pool.listenerCount('health'), 0);
});

test('the event is here and its answer is not when a connection dies: the answer comes by another', async (t) => {
  FakeWebSocket.speaks = { protocol: 'tautline.v1', epoch: 'e1', seq: 10 };
  t.after(() => (FakeWebSocket.speaks = {}));
  const pool = await connected({ urls: urls.slice(0, 2) });
  const heard = [];
  pool.subscribe('*', (payload, { seq }) => heard.push(seq));
  const answer = pool.send({ type: 'order:create', data: { order: 1 } });
  const [first, second] = ['one', 'two'].map(at).sort((a) => (a.sent.at(-1).type === 'order:create' ? -1 : 1));
  const { id } = first.sent.at(-1);
  const event = { type: 'order:created', payload: {}, seq: 11, epoch: 'e1', command_id: id };
  first.frame(event);
  first.cut();
  assert.deepEqual([second.sent.at(-1).id, second.sent.at(-1).payload], [id, { order: 1 }]);
  second.frame(event);
  second.frame({ type: 'ack', id, payload: { epoch: 'e1', seq: 11, result: { order: { id: 'o1' } } } });
  assert.deepEqual(await answer, { id, epoch: 'e1', seq: 11, result: { order: { id: 'o1' } } });
  assert.deepEqual(heard, [11]);
  assert.equal(pool.getStatistics().duplicates, 1);
  pool.dispose();
});
