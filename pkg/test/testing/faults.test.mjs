// Each fault by name, as a page sees it through the client.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TautlineError } from '../../dist/index.js';
import { withRelay } from './kit.mjs';

const order = { type: 'takeout', items: [{ menu_item_id: 'ramen', name: 'Ramen', quantity: 1, price: 12 }] };
const live = (service) => () => service.isConnected();

test('cut: it is told, and comes back with what happened meanwhile', () =>
  withRelay({}, async ({ relay, clock, service, heard, ids, updates }) => {
    const first = relay.createOrder();
    await clock.advance();
    relay.fault('cut');
    await clock.advance();
    const [lost] = heard('disconnected');
    assert.deepEqual([lost.code, lost.wasClean, lost.willReconnect], [1006, false, true]);
    assert.equal(service.getConnectionState(), 'reconnecting');
    const second = relay.createOrder();
    await clock.advance(30_000);
    assert.equal(service.getConnectionState(), 'connected');
    assert.deepEqual(ids(), [first.id, second.id]);
    assert.equal(heard('resumed').length, 1);
    assert.deepEqual(updates.map(({ action, source }) => [action, source]), [['created', 'event'], ['created', 'event']]);
  }));

test('silent: nobody says so, and it is noticed all the same', () =>
  withRelay({}, async ({ relay, clock, service, heard, ids }) => {
    const heal = relay.fault('silent');
    relay.createOrder();
    await clock.advance(2_000);
    assert.deepEqual([service.isConnected(), ids()], [true, []]);
    await clock.runUntil(() => heard('disconnected').length > 0);
    assert.equal(heard('disconnected')[0].code, 4100);
    await clock.advance(60_000);
    assert.equal(service.isConnected(), false);
    heal();
    await clock.runUntil(live(service));
    assert.equal(ids().length, 1);
  }));

test('slow: each way takes its time', () =>
  withRelay({ connect: false }, async ({ relay, clock, service, orders }) => {
    const heal = relay.fault('slow', { ms: 400 });
    const connected = service.connect();
    await clock.advance(1_500);
    assert.equal(service.isConnected(), false);
    // The handshake is there and back, then `connected`, `auth` and its answer.
    await clock.advance(100);
    await connected;
    const made = orders.createOrder(order);
    let done = false;
    void made.then(() => (done = true));
    await clock.advance(799);
    assert.deepEqual([done, relay.orders().length], [false, 1]);
    await clock.advance(1);
    assert.equal(done, true);
    heal();
  }));

test('refuse: it fails before it is open, as often as was said', () =>
  withRelay({ connect: false }, async ({ relay, clock, service, heard }) => {
    relay.fault('refuse', { times: 2 });
    const connected = service.connect();
    await clock.runUntil(connected);
    assert.deepEqual(heard('reconnecting').map(({ attempt }) => attempt), [1, 2]);
    assert.equal(relay.connections().length, 1);
  }));

for (const [code, least, state] of [[4001, 0, 'connected'], [1012, 3_000, 'connected'], [4029, 10_000, 'connected'], [4003, 0, 'error']]) {
  test(`close ${code}: the client does what that code asks for`, () =>
    withRelay({}, async ({ relay, clock, service, heard }) => {
      relay.fault('close', { code, reason: code === 1012 ? 'restart; reconnect_after_ms=3000' : '' });
      await clock.advance();
      assert.equal(heard('disconnected')[0].code, code);
      if (least > 0) {
        await clock.advance(least - 1);
        assert.equal(service.isConnected(), false);
      }
      await clock.advance(60_000);
      assert.equal(service.getConnectionState(), state);
    }));
}

test('restart, its log kept: resumed, nothing missing, nothing twice', () =>
  withRelay({}, async ({ relay, clock, service, heard, ids, updates }) => {
    const { id } = relay.createOrder();
    await clock.advance();
    relay.fault('restart', { downMs: 2_000 });
    await clock.advance();
    assert.equal(heard('disconnected')[0].code, 1012);
    relay.setStatus(id, 'confirmed');
    await clock.runUntil(live(service));
    await clock.advance();
    assert.deepEqual(ids(), [id]);
    assert.deepEqual(updates.map(({ action }) => action), ['created', 'status_changed']);
    assert.equal(heard('resumed').length, 1);
  }));

test('restart, its log lost: another history, and the orders that it has not are gone', () =>
  withRelay({}, async ({ relay, clock, service, ids, updates }) => {
    relay.createOrder();
    await clock.advance();
    relay.fault('restart', { log: 'lost', announced: false });
    const { id } = relay.createOrder();
    await clock.advance();
    await clock.runUntil(live(service));
    await clock.advance();
    assert.deepEqual(ids(), [id]);
    assert.deepEqual(updates.map(({ action, source }) => [action, source]), [['created', 'event'], ['created', 'snapshot'], ['deleted', 'snapshot']]);
    assert.equal(relay.events()[0].epoch, 'epoch-2');
  }));

test('nack: a change shown at once is taken back', () =>
  withRelay({}, async ({ relay, clock, orders }) => {
    const { id } = relay.createOrder();
    await clock.advance();
    const status = () => orders.orders()[0].status;
    relay.fault('nack', { code: 'conflict', type: 'order:update_status' });
    const moved = orders.updateOrderStatus(id, 'confirmed', { optimistic: true });
    assert.equal(status(), 'confirmed');
    await assert.rejects(moved, (error) => error instanceof TautlineError && error.code === 'nack' && error.nackCode === 'conflict' && error.outcome === 'not_applied');
    assert.deepEqual([status(), relay.orders()[0].status], ['new', 'new']);
    await orders.updateOrderStatus(id, 'confirmed');
    assert.equal(status(), 'confirmed');
  }));

test('lost-ack: sent again under its id, applied once', () =>
  withRelay({}, async ({ relay, clock, orders, heard, ids }) => {
    relay.fault('lost-ack');
    const made = orders.createOrder(order);
    await clock.advance();
    assert.deepEqual([heard('disconnected').length, relay.orders().length, ids()], [1, 1, []]);
    const { id } = await clock.runUntil(made);
    assert.deepEqual([ids(), relay.events().length], [[id], 1]);
  }));

test('duplicate: an event that comes twice is told once', () =>
  withRelay({}, async ({ relay, clock, service, updates }) => {
    const messages = [];
    service.subscribe('order:created', () => messages.push(1));
    relay.fault('duplicate');
    relay.createOrder();
    await clock.advance();
    assert.deepEqual([updates.length, messages.length], [1, 1]);
    assert.equal(service.stats().duplicates, 1);
  }));

test('malformed: it is reported, and the connection goes on', () =>
  withRelay({}, async ({ relay, clock, service, heard, ids }) => {
    relay.fault('malformed');
    await clock.advance();
    assert.deepEqual(heard('error').map(({ code }) => code), ['protocol']);
    relay.createOrder();
    await clock.runUntil(() => ids().length === 1);
    assert.equal(service.isConnected(), true);
  }));

test('expire-token: a new one is asked for, and the connection is back at once', () =>
  withRelay({ connect: false }, async ({ relay, clock, service, heard }) => {
    await service.connect();
    relay.fault('expire-token');
    await clock.advance(1_000);
    assert.equal(heard('disconnected')[0].code, 4001);
    assert.equal(service.isConnected(), true);
  }));

test('revoke: a token that is taken no more ends in the login', () => {
  const reasons = [];
  let token;
  const getToken = ({ reason }) => {
    reasons.push(reason);
    return token;
  };
  return withRelay({ connect: false, client: { getToken } }, async ({ relay, clock, service, heard }) => {
    token = relay.token();
    await service.connect();
    relay.fault('revoke');
    await clock.advance(1_000);
    assert.equal(service.getConnectionState(), 'error');
    assert.equal(heard('error').at(-1).code, 'auth_failed');
    assert.deepEqual(reasons.slice(0, 2), ['connect', 'expired']);
    token = relay.token();
    await service.connect();
    assert.equal(service.isConnected(), true);
  });
});

test('revoke and expire-token mean one sub, when it is said', () =>
  withRelay({}, async ({ relay, clock, service }) => {
    relay.fault('revoke', { sub: 'somebody' });
    await clock.advance(100);
    assert.equal(service.isConnected(), true);
  }));

test('overload: commands are refused for now, and nobody new gets in', () =>
  withRelay({}, async ({ relay, clock, service, orders, heard }) => {
    const heal = relay.fault('overload');
    await assert.rejects(orders.createOrder(order), ({ code, nackCode, retryable, retryAfterMs }) => code === 'nack' && nackCode === 'overloaded' && retryable && retryAfterMs === 1_000);
    await assert.rejects(clock.runUntil(orders.fetchOrders()), ({ code, status }) => code === 'http_failed' && status === 503);
    service.reconnectNow();
    relay.fault('cut');
    await clock.advance(20_000);
    assert.deepEqual([service.isConnected(), heard('connected').length], [false, 1]);
    heal();
    await clock.runUntil(live(service));
  }));

test('heal() ends every fault that lasts', () =>
  withRelay({}, async ({ relay, clock, service, orders }) => {
    relay.fault('overload');
    relay.fault('slow', { ms: 5_000 });
    relay.fault('refuse', {});
    relay.fault('nack', { code: 'invalid' });
    relay.fault('lost-ack');
    relay.fault('duplicate');
    relay.fault('silent');
    relay.heal();
    relay.fault('cut');
    await clock.runUntil(() => service.getConnectionState() === 'reconnecting', { withinMs: 60_000 });
    await clock.runUntil(live(service));
    assert.equal((await orders.createOrder(order)).status, 'new');
  }));

test('a fault is one of those there are', () =>
  withRelay({ connect: false }, async ({ relay }) => {
    assert.throws(() => relay.fault('gremlins'), ({ code, message }) => code === 'invalid_argument' && /cut, silent, slow/.test(message));
  }));
