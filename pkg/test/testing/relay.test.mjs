// What the test does itself, and what it can ask of the relay; its socket and its HTTP.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTestRelay } from '../../dist/testing.js';
import { withRelay } from './kit.mjs';

test('orders made, changed, moved and taken away are shown', () =>
  withRelay({}, async ({ relay, clock, orders, updates }) => {
    const { id, items } = relay.createOrder({ table_number: '7' });
    relay.setStatus(id, 'preparing');
    relay.setItemStatus(id, items[0].id, 'ready');
    relay.patchOrder(id, { notes: 'no onions' });
    await clock.advance();
    const [shown] = orders.orders();
    assert.deepEqual(shown, relay.orders()[0]);
    assert.deepEqual([shown.status, shown.items[0].status, shown.notes, shown.table_number, shown.total], ['preparing', 'ready', 'no onions', '7', 9.5]);
    relay.deleteOrder(id);
    await clock.advance();
    assert.deepEqual(orders.orders(), []);
    assert.deepEqual(updates.map(({ action }) => action), ['created', 'status_changed', 'item_status_changed', 'updated', 'deleted']);
    assert.deepEqual(relay.events().map(({ seq }) => seq), [1, 2, 3, 4, 5]);
  }));

test('what the relay would refuse it refuses here', () =>
  withRelay({}, async ({ relay }) => {
    assert.throws(() => relay.createOrder({ items: [] }), /POST \/orders: invalid: /);
    assert.throws(() => relay.setStatus('nobody', 'ready'), /not_found/);
    const { id } = relay.createOrder();
    relay.setStatus(id, 'completed');
    assert.throws(() => relay.setStatus(id, 'new'), /invalid_transition/);
  }));

test('roles hold: a kiosk sees its own orders, and the kitchen makes none', async () => {
  await withRelay({ claims: { role: 'kiosk', sub: 'k1' } }, async ({ relay, clock, orders, ids }) => {
    relay.createOrder();
    await clock.advance();
    assert.deepEqual(ids(), []);
    const own = await orders.createOrder({ type: 'takeout', items: [{ menu_item_id: 'm', name: 'n', quantity: 1, price: 1 }] });
    assert.deepEqual(ids(), [own.id]);
  });
  await withRelay({ claims: { role: 'kitchen' } }, async ({ orders }) => {
    await assert.rejects(orders.createOrder({ type: 'takeout', items: [{ menu_item_id: 'm', name: 'n', quantity: 1, price: 1 }] }), ({ nackCode }) => nackCode === 'forbidden');
  });
});

test('a published event of any type is heard', () =>
  withRelay({}, async ({ relay, clock, service }) => {
    const heard = [];
    service.subscribe('table:updated', (payload) => heard.push(payload));
    assert.deepEqual(relay.publish('table:updated', { table: 4 }), { seq: 1, epoch: 'epoch-1' });
    await clock.advance();
    assert.deepEqual(heard, [{ table: 4 }]);
    assert.throws(() => relay.publish('ack', {}), /the wire's own/);
  }));

test('connections say who is there', () =>
  withRelay({ claims: { role: 'server', sub: 'anna' }, client: { client: { name: 'kds', version: '2' } } }, async ({ relay, service, clock }) => {
    assert.deepEqual(relay.connections(), [{ id: 1, restaurantId: 'test', sub: 'anna', role: 'server', protocol: 'tautline.v1', client: { name: 'kds', version: '2' } }]);
    service.disconnect();
    await clock.advance();
    assert.deepEqual(relay.connections(), []);
  }));

test('a token is refused by its restaurant, its role, its age; and can be read', () =>
  withRelay({ connect: false }, async ({ relay }) => {
    const [, claims] = relay.token({ role: 'server', orderIds: ['o1'] }).split('.');
    const { sub, role, restaurant_id, order_ids, exp, iat } = JSON.parse(Buffer.from(claims, 'base64url'));
    assert.deepEqual([sub, role, restaurant_id, order_ids, exp - iat], ['tester', 'server', 'test', ['o1'], 43_200]);
    assert.notEqual(relay.token(), relay.token());
  }));

for (const [what, claims, code] of [['restaurant', { restaurant: 'another' }, 'auth_forbidden'], ['role', { role: 'chef' }, 'auth_forbidden']]) {
  test(`a token of another ${what} is ${code}`, () =>
    withRelay({ connect: false, claims }, async ({ service }) => {
      await assert.rejects(service.connect(), (error) => error.code === code);
    }));
}

test('the HTTP calls of the client, with its token', () =>
  withRelay({ connect: false }, async ({ relay, clock, orders }) => {
    const made = [relay.createOrder({ customer_phone: '555' }), relay.createOrder(), relay.createOrder()].map(({ id }) => id);
    relay.setStatus(made[0], 'ready');
    const first = await orders.fetchOrders({ limit: 2 });
    assert.deepEqual(first.orders.map(({ id }) => id), made.slice(0, 2));
    assert.deepEqual((await orders.fetchOrders({ cursor: first.nextCursor })).orders.map(({ id }) => id), made.slice(2));
    assert.deepEqual((await orders.fetchOrders({ status: ['ready'] })).orders.map(({ id }) => id), [made[0]]);
    assert.equal((await orders.fetchOrder(made[0])).customer_phone, '555');
    await assert.rejects(orders.fetchOrder('nobody'), ({ status }) => status === 404);
    relay.fault('refuse', {});
    await assert.rejects(orders.fetchOrders(), ({ code }) => code === 'http_failed');
    relay.heal();
    relay.fault('silent');
    const stop = new AbortController();
    const asked = orders.fetchOrders({ signal: stop.signal });
    await clock.advance(1_000);
    stop.abort();
    await assert.rejects(asked, ({ name }) => name === 'AbortError');
  }));

test('fetch of the page\'s own: the relay\'s routes by its rules, everything else by the real one', async () => {
  const relay = (await createTestRelay()).install();
  const at = (path) => `http://relay.test/api/v1/restaurants/test${path}`;
  const authorization = `Bearer ${relay.token()}`;
  const body = JSON.stringify({ type: 'takeout', items: [{ menu_item_id: 'm', name: 'n', quantity: 2, price: 1.5 }] });
  const post = () => fetch(at('/orders'), { method: 'POST', headers: { authorization, 'idempotency-key': 'once' }, body });
  const [one, other] = [await (await post()).json(), await (await post()).json()];
  assert.deepEqual([one.id, one.total, other.id], ['order-001', 3, 'order-001']);
  assert.equal((await fetch(at('/orders'), { headers: { authorization: 'Bearer guess' } })).status, 401);
  assert.equal((await fetch(at('/orders/order-001'), { method: 'DELETE', headers: { authorization } })).status, 204);
  assert.equal((await fetch(at('/nothing'), { headers: { authorization } })).status, 404);
  assert.equal(await (await fetch('http://relay.test/healthz')).text(), 'ok');
  assert.equal(await (await fetch('data:text/plain,real')).text(), 'real');
  relay.dispose();
});

test('the socket in memory is the standard\'s', async () => {
  const relay = (await createTestRelay()).install();
  const socket = new WebSocket('ws://relay.test/ws?restaurant_id=test', 'tautline.v1');
  const told = [];
  for (const name of ['open', 'message', 'error', 'close']) socket.addEventListener(name, (event) => told.push([name, event.data ? JSON.parse(event.data).type : event.code]));
  socket.onmessage = ({ data, origin }) => told.push(['onmessage', typeof data, origin]);
  assert.deepEqual([socket.readyState, socket.url, socket.binaryType, WebSocket.OPEN, socket instanceof WebSocket], [0, 'ws://relay.test/ws?restaurant_id=test', 'blob', 1, true]);
  assert.throws(() => socket.send('early'), { name: 'InvalidStateError' });
  assert.throws(() => socket.close(1001), { name: 'InvalidAccessError' });
  assert.throws(() => socket.close(1000, 'x'.repeat(124)), { name: 'SyntaxError' });
  assert.deepEqual(told, [], 'nothing is told before its time');
  await relay.clock.advance();
  assert.deepEqual([socket.readyState, socket.protocol, told.splice(0)], [1, 'tautline.v1', [['open', undefined], ['message', 'connected'], ['onmessage', 'string', 'ws://relay.test']]]);
  socket.send('{"type":"dance"}');
  assert.equal(socket.bufferedAmount, 16);
  await relay.clock.advance();
  assert.deepEqual([socket.bufferedAmount, socket.readyState, told], [0, 3, [['close', 1008]]]);
  const other = new WebSocket('ws://relay.test/ws');
  other.onopen = () => other.send(new Uint8Array([1, 2, 3]));
  const closed = new Promise((resolve) => (other.onclose = resolve));
  assert.equal((await relay.clock.runUntil(closed)).code, 1003);
  const third = new WebSocket('ws://relay.test/ws');
  await relay.clock.advance();
  third.close(3_000, 'bye');
  assert.equal(third.readyState, 2);
  const ended = await relay.clock.runUntil(new Promise((resolve) => (third.onclose = resolve)));
  assert.deepEqual([ended.code, ended.reason, ended.wasClean], [3_000, 'bye', true]);
  const early = new WebSocket('ws://relay.test/ws');
  const [failed, over] = ['error', 'close'].map((name) => new Promise((resolve) => early.addEventListener(name, resolve)));
  early.close();
  assert.deepEqual([early.readyState, (await relay.clock.runUntil(over)).code, (await failed).type], [2, 1006, 'error']);
  assert.throws(() => new WebSocket('ws://elsewhere.test/ws'), /only the test relay is there/);
  relay.dispose();
});

test('a page of Playwright\'s: its sockets and requests, by shape', async () => {
  const relay = await createTestRelay({ clock: 'none' });
  const routes = {};
  await relay.serve({ routeWebSocket: async (url, handler) => void (routes.socket = { url, handler }), route: async (url, handler) => void (routes.http = { url, handler }) });
  assert.deepEqual([routes.socket.url(new URL('ws://relay.test/ws?x=1')), routes.socket.url(new URL('ws://page.test/ws'))], [true, false]);
  assert.deepEqual([routes.http.url(new URL('http://relay.test/api/v1/x')), routes.http.url(new URL('http://relay.test/index.html'))], [true, false]);
  const [sent, closed, heard] = [[], [], {}];
  routes.socket.handler({
    url: () => relay.url,
    onMessage: (handler) => (heard.message = handler),
    onClose: (handler) => (heard.close = handler),
    send: (text) => void sent.push(JSON.parse(text)),
    close: async (how) => void closed.push(how),
  });
  heard.message(JSON.stringify({ type: 'auth', token: relay.token(), protocol: 'tautline.v1' }));
  await relay.clock.runUntil(() => sent.some(({ type }) => type === 'auth:success'));
  relay.createOrder();
  await relay.clock.runUntil(() => sent.some(({ type }) => type === 'order:created'));
  relay.fault('cut');
  await relay.clock.runUntil(() => closed.length > 0);
  assert.deepEqual(closed, [{ code: 1006, reason: '' }]);
  let answer;
  const request = { method: () => 'GET', url: () => 'http://relay.test/api/v1/restaurants/test/orders', headers: () => ({ authorization: `Bearer ${relay.token()}` }), postData: () => null };
  await routes.http.handler({ request: () => request, fulfill: async (given) => void (answer = given), abort: async () => {} });
  assert.deepEqual([answer.status, answer.headers['access-control-allow-origin'], JSON.parse(answer.body).orders.length], [200, '*', 1]);
  relay.fault('refuse', {});
  let aborted;
  await routes.http.handler({ request: () => request, fulfill: async () => {}, abort: async (code) => void (aborted = code) });
  assert.equal(aborted, 'connectionfailed');
  relay.dispose();
});
