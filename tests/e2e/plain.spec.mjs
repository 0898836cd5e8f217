// The plain dialect, both ways round: our client against a server that speaks nothing else, an older client
// against our relay; each in a real browser.

import { expect, test } from '@playwright/test';
import { startPlainServer } from '../servers/plain.mjs';
import { connectLab, faults, LAB_ORIGIN, NO_FAULTS, openLab, orderSet, record, relaySet, seen, startLab, startRelay, watchSockets } from './harness/index.mjs';

let lab;
test.beforeAll(async () => {
  lab = await startLab();
});
test.afterAll(() => lab?.stop());

test.describe('our client against a plain-only server', () => {
  let plain;
  test.beforeAll(async () => {
    plain = await startPlainServer();
  });
  test.afterAll(() => plain?.stop());

  const control = async (restaurant, action, body = {}) => {
    const answer = await fetch(`${plain.url}/control/${action}?restaurant_id=${restaurant}`, { method: 'POST', body: JSON.stringify(body) });
    return answer.json();
  };
  const open = (page, restaurant, more = {}) => openLab(page, lab, {
    url: `${plain.url.replace('http', 'ws')}/ws`, restaurantId: restaurant, reconnectInterval: 200, getToken: () => 'opaque-token', ...more,
  });
  const made = (id, fields = {}) => ({ type: 'order:created', payload: { order: { id, status: 'new', items: [], created_at: '2026-01-01T12:00:00Z', updated_at: '2026-01-01T12:00:00Z', ...fields } } });

  test('it connects, is told, and tells', async ({ page }) => {
    const restaurant = 'plain-events';
    const sockets = watchSockets(page);
    await record(page);
    await open(page, restaurant);
    expect(await connectLab(page)).toBe('connected');
    await expect.poll(() => control(restaurant, 'state')).toMatchObject({ connections: 1, received: { auth: 1, 'orders:sync': 1 } });

    await control(restaurant, 'event', made('o-1'));
    await control(restaurant, 'event', made('o-2'));
    await control(restaurant, 'event', { type: 'order:status_changed', payload: { orderId: 'o-1', order_id: 'o-1', status: 'confirmed', previous_status: 'new' } });
    await control(restaurant, 'event', { type: 'order:deleted', payload: { orderId: 'o-2', order_id: 'o-2' } });
    await expect.poll(() => orderSet(page)).toEqual(['o-1 confirmed']);
    const told = await seen(page);
    expect(told.updates.map(({ action, orderId, seq }) => [action, orderId, seq])).toEqual([
      ['created', 'o-1', null], ['created', 'o-2', null], ['status_changed', 'o-1', null], ['deleted', 'o-2', null],
    ]);

    // Commands are written once and confirmed by their event alone.
    const order = await page.evaluate(() =>
      Promise.race([
        window.__tautline.orders.createOrder({ type: 'takeout', items: [{ menu_item_id: 'm', name: 'M', quantity: 1, price: 1 }] }),
        new Promise((resolve) => setTimeout(resolve, 8_000, 'unanswered')),
      ]).catch(({ code }) => code));
    await expect.poll(async () => (await control(restaurant, 'state')).orders).toHaveLength(1);
    await expect.poll(() => orderSet(page)).toHaveLength(2);
    expect((await control(restaurant, 'state')).received['order:create']).toBe(1);
    expect(order).not.toBe('unanswered'); // a server without acks names no order
    // Every frame it was sent is one object, and says nothing that only v1 knows.
    expect(sockets[0].sent.filter(({ type }) => ['ack', 'nack', 'cursor'].includes(type))).toEqual([]);
  });

  test('a cut is mended with a full sync, and nothing is sent twice', async ({ page }) => {
    const restaurant = 'plain-cut';
    const sockets = watchSockets(page);
    await record(page);
    await open(page, restaurant);
    expect(await connectLab(page)).toBe('connected');
    const status = await page.evaluate(async () => {
      const handle = window.__tautline.service.send('order:create', { order: { type: 'takeout', items: [] } }, { id: 'cmd-1' });
      await handle.done;
      return handle.status;
    });
    expect(status).toBe('done');
    await expect.poll(async () => (await control(restaurant, 'state')).received['order:create']).toBe(1);

    await control(restaurant, 'cut');
    await expect.poll(() => control(restaurant, 'state')).toMatchObject({ connections: 1, accepted: 2, received: { auth: 2, 'orders:sync': 2, 'order:create': 1 } });
    await expect.poll(async () => (await seen(page)).states.at(-1)).toBe('connected');
    await control(restaurant, 'event', made('o-9'));
    await expect.poll(() => orderSet(page)).toContain('o-9 new');
    expect(sockets).toHaveLength(2);
    expect(faults(await seen(page)).again).toEqual([]);
  });

  test('what was sent while it was away leaves once it is back, once', async ({ page }) => {
    const restaurant = 'plain-outbox';
    await open(page, restaurant, { reconnectInterval: 1_000 });
    expect(await connectLab(page)).toBe('connected');
    const done = page.evaluate(async () => {
      const { service } = window.__tautline;
      const gone = new Promise((resolve) => service.once('disconnected', resolve));
      window.__cut = true;
      await gone;
      const handles = ['a', 'b', 'c'].map((id) => service.send('table:updated', { id }, { id }));
      const lengths = [service.outbox().length];
      await Promise.all(handles.map((handle) => handle.done));
      return [...lengths, service.outbox().length];
    });
    await page.waitForFunction(() => window.__cut === true);
    await control(restaurant, 'cut');
    expect(await done).toEqual([3, 0]);
    const { frames } = await control(restaurant, 'state');
    expect(frames.filter(({ type }) => type === 'table:updated').map(({ payload }) => payload.id)).toEqual(['a', 'b', 'c']);
  });

  test('rubbish, unknown types and a server without auth do not disturb it', async ({ page }) => {
    const restaurant = 'plain-odd';
    await control(restaurant, 'settings', { authRequired: false });
    await record(page);
    await open(page, restaurant);
    expect(await connectLab(page)).toBe('connected');
    for (const text of ['not JSON', '{}', '[]', '"text"', '{"type":7}', '{"type":"order:created"}', '{"type":"order:status_changed","payload":null}', '{"type":"pong"}', '{"type":"what:ever","payload":{"a":1}}']) {
      await control(restaurant, 'frame', { text });
    }
    await control(restaurant, 'event', made('o-1'));
    await expect.poll(() => orderSet(page)).toEqual(['o-1 new']);
    expect(await page.evaluate(() => window.__tautline.service.getConnectionState())).toBe('connected');
    expect((await control(restaurant, 'state')).accepted).toBe(1);
    expect((await control(restaurant, 'state')).received.auth ?? 0).toBe(0);
  });

  test('a refused token is an error here too', async ({ page }) => {
    const restaurant = 'plain-refused';
    await control(restaurant, 'settings', { refuse: ['opaque-token'] });
    await open(page, restaurant);
    expect(await connectLab(page)).toBe('auth_failed');
  });
});

test.describe('an older client against the relay', () => {
  let relay;
  test.beforeAll(async () => {
    relay = await startRelay({ args: LAB_ORIGIN });
  });
  test.afterAll(() => relay?.stop());

  const old = async (page, restaurant) => {
    await page.goto(`${lab.url}/old.html`);
    const token = await relay.token({ restaurant, role: 'kitchen' });
    await page.evaluate(([url, given, restaurantId]) => {
      window.client = new window.OldClient({ url, token: given, restaurantId });
      window.client.connect();
    }, [`${relay.url.replace('http', 'ws')}/ws`, token, restaurant]);
    await page.waitForFunction(() => window.client.state === 'connected');
  };
  const list = (page) => page.evaluate(() => window.client.list());

  test('it works unchanged: sync, events, commands, pings', async ({ page }) => {
    const restaurant = 'old-works';
    const sockets = watchSockets(page);
    const before = await relay.postOrder({}, { restaurant });
    await old(page, restaurant);
    await expect.poll(() => list(page)).toEqual([`${before.id} new`]); // a full sync after the connect
    const after = await relay.postOrder({}, { restaurant });
    await expect.poll(() => list(page)).toHaveLength(2);

    await page.evaluate((id) => window.client.updateOrderStatus(id, 'confirmed'), before.id);
    await page.evaluate(([id, item]) => window.client.updateItemStatus(id, item, 'ready'), [after.id, after.items[0].id]);
    const stored = async () => {
      const orders = await relay.orders({ restaurant });
      return [orders.find(({ id }) => id === before.id).status, orders.find(({ id }) => id === after.id).items[0].status];
    };
    await expect.poll(stored).toEqual(['confirmed', 'ready']);
    await expect.poll(() => list(page)).toEqual(await relaySet(relay, restaurant));
    await expect.poll(() => page.evaluate(() => window.client.pongs)).toBeGreaterThan(1);

    await page.evaluate((id) => window.client.updateOrderStatus(id, 'completed'), 'no-such-order');
    await expect.poll(() => page.evaluate(() => window.client.errors)).toMatchObject([{ code: 'not_found' }]);
    expect((await relay.api('DELETE', `/orders/${after.id}`, undefined, { restaurant })).status).toBe(204);
    await expect.poll(() => list(page)).toEqual([`${before.id} confirmed`]);

    const told = await page.evaluate(() => ({ odd: window.client.odd, previous: window.client.previous, syncs: window.client.syncs }));
    expect(told).toEqual({ odd: [], previous: 'new', syncs: 1 });
    // Nothing that only v1 knows, and a single object in each frame.
    expect(sockets[0].batches).toBe(0);
    expect(sockets[0].received.filter(({ type }) => ['ack', 'nack', 'cursor', 'reset'].includes(type))).toEqual([]);
    expect(sockets[0].received.find(({ type }) => type === 'auth:success')).not.toHaveProperty('protocol');
  });

  test('it comes back after a restart of the relay', async ({ page }) => {
    const restaurant = 'old-restart';
    await old(page, restaurant);
    await relay.postOrder({}, { restaurant });
    await expect.poll(() => list(page)).toHaveLength(1);
    await relay.kill9();
    await relay.restart();
    await relay.postOrder({}, { restaurant });
    await expect.poll(() => list(page), { timeout: 15_000 }).toEqual(await relaySet(relay, restaurant));
  });

  test('old and new see the same', async ({ page, context }) => {
    const restaurant = 'old-and-new';
    await old(page, restaurant);
    const ours = await context.newPage();
    await record(ours);
    await openLab(ours, lab, { url: `${relay.url}/ws`, restaurantId: restaurant, getToken: () => relay.token({ restaurant }) });
    expect(await connectLab(ours)).toBe('connected');
    const order = await relay.postOrder({}, { restaurant });
    await expect.poll(() => list(page)).toHaveLength(1);
    await page.evaluate((id) => window.client.updateOrderStatus(id, 'preparing'), order.id);
    await expect.poll(() => orderSet(ours)).toEqual([`${order.id} preparing`]);
    await ours.evaluate((id) => window.__tautline.orders.updateOrderStatus(id, 'ready'), order.id);
    await expect.poll(() => list(page)).toEqual([`${order.id} ready`]);
    expect(faults(await seen(ours))).toEqual(NO_FAULTS);
  });
});
