// Vue's composables and Svelte's stores, over the real module and each framework's own runtime. React's are tests/e2e/react.spec.mjs.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { afterEach, test } from 'node:test';
import { derived, get } from 'svelte/store';
import { computed, createApp, effectScope, nextTick, ref, watch } from 'vue';
import { FakeWebSocket, sockets } from './fake-socket.mjs';
import { createTautline, initSync, resources } from '../dist/index.js';
import { connection, connectionState, orders } from '../dist/svelte.js';
import { tautline, useConnection, useConnectionState, useOrders, useOrderUpdates, useTautline } from '../dist/vue.js';

globalThis.WebSocket = FakeWebSocket;
globalThis.requestAnimationFrame = (run) => setTimeout(run, 1);
globalThis.cancelAnimationFrame = clearTimeout;
initSync(await readFile(new URL('../wasm/tautline_bg.wasm', import.meta.url)));

const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

async function until(what, holds) {
  for (let n = 0; !holds(); n += 1) {
    assert.ok(n < 400, what);
    await settled();
  }
}

const make = () => createTautline({ url: 'ws://relay.example/ws', getToken: () => 'token', reconnectInterval: 100, lingerMs: 10 });
const order = (id, status = 'new') => ({ id, order_number: id, status, type: 'dine-in', items: [], total: 1, created_at: '2026-01-01T00:00:00Z' });
const created = (...ids) => ids.forEach((id) => sockets.at(-1).frame({ type: 'order:created', payload: { order: order(id) } }));
const moved = (id, status) => sockets.at(-1).frame({ type: 'order:status_changed', payload: { order_id: id, status } });

afterEach(async () => {
  await until(JSON.stringify(resources.list()), () => resources.list().length === 0);
});

test('Vue: state, orders and a filter that changes; the scope holds the connection', async () => {
  const client = await make();
  const app = createApp({}).use(tautline, client);
  const scope = effectScope();
  const wanted = ref('ready');
  const told = [];
  const { state, error, all, some, count } = app.runWithContext(() => scope.run(() => {
    assert.equal(useTautline(), client);
    useOrderUpdates(({ action }) => told.push(action));
    const all = useOrders();
    return { ...useConnection(), all, some: useOrders(() => ({ statuses: [wanted.value] })), count: computed(() => all.value.length) };
  }));
  let changes = 0;
  scope.run(() => watch(all, () => (changes += 1)));
  await until('connected', () => state.value === 'connected');
  created('1', '2', '3');
  await until('orders', () => count.value === 3);
  await nextTick();
  assert.equal(changes, 1, 'a burst is one change');
  assert.deepEqual([some.value.length, error.value, told], [0, undefined, ['created', 'created', 'created']]);
  const [first] = all.value;
  const before = some.value;
  moved('2', 'ready');
  await until('a filter', () => some.value.length === 1);
  assert.equal(all.value.find(({ id }) => id === first.id), first, 'what has not changed is the same object');
  wanted.value = 'new';
  assert.deepEqual(some.value.map(({ id }) => id), ['1', '3']);
  wanted.value = 'cancelled';
  assert.deepEqual(some.value, before);

  scope.stop();
  assert.equal(client.service.listenerCount('stateChange'), 0);
  await until('let go', () => !client.service.isConnected());
  client.dispose();
});

test('Vue: without a client, as on a server', () => {
  const app = createApp({}).use(tautline);
  const scope = effectScope();
  const { state, list } = app.runWithContext(() => scope.run(() => ({ state: useConnectionState(), list: useOrders({ statuses: ['new'] }) })));
  assert.deepEqual([state.value, list.value], ['disconnected', []]);
  assert.throws(() => createApp({}).runWithContext(() => useOrders()), /app\.use\(tautline, client\)/);
  scope.stop();
});

test('Svelte: stores work while they have subscribers', async () => {
  const client = await make();
  const states = [];
  const offs = [connection(client).subscribe(({ state }) => states.push(state))];
  await until('connected', () => get(connectionState(client)) === 'connected');
  const ready = orders(client, { statuses: ['ready'] });
  const lists = [];
  offs.push(ready.subscribe((list) => lists.push(list.map(({ id }) => id))));
  const count = derived(orders(client), (list) => list.length);
  offs.push(count.subscribe(() => {}));
  created('1', '2');
  await until('orders', () => get(count) === 2);
  moved('1', 'ready');
  await until('ready', () => lists.length === 2);
  created('3');
  await until('orders', () => get(count) === 3);
  assert.deepEqual(lists, [[], ['1']], 'told when what it shows has changed');
  assert.deepEqual(states, ['disconnected', 'connecting', 'connected']);
  for (const off of offs) off();
  assert.equal(client.service.listenerCount('stateChange'), 0);
  await until('let go', () => !client.service.isConnected());
  client.dispose();
  assert.deepEqual([get(connectionState(undefined)), get(orders(undefined)), get(connection(undefined)).state], ['disconnected', [], 'disconnected']);
});

test('a connection that is given up says why', async () => {
  const client = await createTautline({ url: 'ws://relay.example/ws', getToken: () => Promise.reject(new Error('signed out')), maxReconnectAttempts: 0 });
  const scope = effectScope();
  const { error } = createApp({}).use(tautline, client).runWithContext(() => scope.run(() => useConnection()));
  const told = [];
  client.service.on('error', () => {});
  const off = connection(client).subscribe(({ error: why }) => told.push(why?.code));
  await until('it is given up', () => error.value !== undefined && told.at(-1) !== undefined);
  assert.equal(error.value.code, told.at(-1));
  off();
  scope.stop();
  client.dispose();
});
