// One screen's life: everything a client says to a relay, once. It is lived when a version is recorded, and again
// whenever a recording is played to a newer client.

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

const PATIENCE_MS = 30_000;

/** Waits for a condition, with an end. */
export async function until(what, holds) {
  for (const deadline = Date.now() + PATIENCE_MS; ; ) {
    const value = await holds();
    if (value) return value;
    assert.ok(Date.now() < deadline, `in vain: ${what}`);
    await delay(5);
  }
}

/**
 * Lives it.
 * @param {object} given
 *   `client`: the package's module; `url` of the orders socket; `plain`: no v1 is to be had; `world`: what happens around
 *   the screen (`token`, `post`, `publish`, `cut`, `restart`, `seen`), real when recording, nothing when played back.
 * @returns what the screen has come to: orders, what it was told, statistics, errors
 */
export async function live({ client, url, plain, world }) {
  const { service, orders } = await client.createTautline({
    url,
    restaurantId: 'demo',
    getToken: () => world.token(),
    reconnectInterval: 100,
    heartbeatInterval: 1_000,
    client: { name: 'kds-2', version: '1.0' },
  });
  const told = [];
  const tables = [];
  const errors = [];
  const numbers = new Map();
  service.on('error', ({ code }) => errors.push(code));
  service.subscribe('table:*', (payload) => tables.push(payload));
  const byNumber = (number) => orders.orders().find((order) => order.order_number === number);
  orders.onOrderUpdate(({ action, orderId, order, status }) => {
    if (order) numbers.set(orderId, order.order_number);
    // A snapshot's order of its orders is nobody's promise.
    told.push(`${action} ${numbers.get(orderId)} ${status ?? order?.status ?? ''}`.trim());
  });
  orders.initialize();
  // Played back, what the world does next may be there already.
  const size = (count) => until(`${count} orders`, () => orders.orders().length >= count);

  await world.post('A');
  await world.post('B');
  await service.connect();
  await size(2);

  // What others do.
  await world.post('C');
  await world.publish('table:updated', { table: '7', state: 'seated' });
  await size(3);
  await until('the table', () => tables.length === 1);

  // What the screen does.
  const order = { type: 'takeout', order_number: 'D', items: [{ menu_item_id: 'soup', name: 'Soup', quantity: 2, price: 4.25 }] };
  if (plain) service.send('order:create', { order }); // without acks nobody says which order it became
  else assert.equal((await orders.createOrder(order)).order_number, 'D');
  await size(4);
  const { id, items } = byNumber('A');
  await orders.updateOrderStatus(id, 'preparing', { expectedStatus: 'new', optimistic: true });
  await orders.updateItemStatus(id, items[0].id, 'ready');
  await orders.cancelOrder(byNumber('B').id, 'changed their mind');
  if (!plain) {
    const refusals = [];
    for (const refused of [
      () => orders.updateOrderStatus(byNumber('B').id, 'ready'),
      () => orders.updateOrderStatus(id, 'ready', { expectedStatus: 'new' }),
      () => orders.updateOrderStatus('nobody', 'ready'),
    ]) {
      const error = await refused().then(() => undefined, (error) => error);
      refusals.push(error?.nackCode);
    }
    assert.deepEqual(refusals, ['invalid_transition', 'conflict', 'not_found']);
    // A relay without filters refuses it, one with them takes it: a client lives with either.
    await service.request('subscribe', { events: ['order:*', 'table:*'] }).catch((error) => assert.equal(error.nackCode, 'invalid'));
    await service.request('unsubscribe', {});
  }

  // A heartbeat, a renewal.
  await until('a ping answered', () => service.stats().rttMs !== null);
  if (!plain) {
    service.setToken(await world.token());
    await until('the renewal', () => world.seen((frame) => frame.type === 'auth:success' && frame.renewal === true));
  }

  // The network goes, and something is missed.
  const back = world.holdTokens();
  await world.cut();
  await until('the cut', () => !service.isConnected() || service.stats().connects >= 2);
  await world.post('E');
  back();
  await until('back', () => service.isConnected() && service.stats().connects >= 2);
  await size(5);
  if (!plain) {
    orders.requestSync();
    await until('the snapshot asked for', () => service.stats().snapshots === 2);
  }

  // The relay restarts, and says so before.
  await world.restart();
  await until('back again', () => service.isConnected() && service.stats().connects >= 3);
  await world.post('F');
  await size(6);
  await orders.updateOrderStatus(byNumber('D').id, 'ready');
  await until('D to be ready', () => byNumber('D').status === 'ready');

  const { connects, resumes, gaps, duplicates, snapshots } = service.stats();
  const lived = {
    orders: orders.orders().map(({ order_number, status, items }) => `${order_number} ${status}: ${items.map((item) => `${item.quantity} ${item.name} ${item.status}`)}`).sort(),
    told: told.sort(),
    tables,
    stats: { connects, resumes, gaps, duplicates, snapshots },
    errors,
  };
  for (const object of [orders, service]) object.dispose();
  await until('the goodbye', () => world.closed());
  return lived;
}
