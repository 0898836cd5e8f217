// Tokens run out, are renewed, are refused; none of it loses an event or loops.

import { expect, test } from '@playwright/test';
import {
  brought, connection, connectLab, faults, LAB_ORIGIN, NO_FAULTS, openDisplay, openLab, orderSet, record, relaySet, seen, startLab, startRelay, ticket,
  watchSockets,
} from './harness/index.mjs';

let relay;
let lab;
test.beforeAll(async () => {
  [relay, lab] = await Promise.all([startRelay({ args: LAB_ORIGIN }), startLab()]);
});
test.afterAll(async () => {
  await lab?.stop();
  await relay?.stop();
});

const options = (restaurant, more) => ({ url: `${relay.url}/ws`, restaurantId: restaurant, ...more });

test('a token that runs out on an open connection is replaced without losing an event', async ({ page }) => {
  const restaurant = 'expired';
  const reasons = [];
  const sockets = watchSockets(page);
  await record(page);
  await openLab(page, lab, options(restaurant, {
    getToken: ({ reason }) => {
      reasons.push(reason);
      return relay.token({ restaurant, sub: `screen-${reasons.length}` });
    },
  }));
  expect(await connectLab(page)).toBe('connected');

  let posting = true;
  const posted = (async () => {
    for (let n = 0; posting || n < 20; n += 1) await relay.api('POST', '/orders', { type: 'dine-in', items: [{ menu_item_id: 'm', name: 'M', quantity: 1, price: 1 }] }, { restaurant, role: 'service' });
  })();
  await relay.trouble('expire');
  await expect.poll(() => sockets.length).toBe(2);
  await expect.poll(async () => (await seen(page)).states.at(-1)).toBe('connected');
  posting = false;
  await posted;

  const stored = await relaySet(relay, restaurant);
  await expect.poll(() => orderSet(page)).toEqual(stored);
  expect(reasons).toEqual(['connect', 'expired']);
  const told = await seen(page);
  expect(told.disconnects).toEqual([{ code: 4001, willReconnect: true }]);
  expect(faults(told)).toEqual(NO_FAULTS);
  expect(told.updates.filter(({ source, initial }) => source === 'snapshot' && !initial)).toEqual([]);
  await expect.poll(() => brought(sockets[1]).welcome?.resumed).toBe(true);
  expect(sockets[1].sent[0].token).not.toBe(sockets[0].sent[0].token);
});

test('a token is renewed before it runs out, on the same socket', async ({ page }) => {
  const restaurant = 'renewed';
  const reasons = [];
  const sockets = watchSockets(page);
  await record(page);
  await openLab(page, lab, options(restaurant, {
    getToken: ({ reason }) => {
      reasons.push(reason);
      return relay.token({ restaurant, ttl: reason === 'connect' ? '9s' : '1h' });
    },
  }));
  expect(await connectLab(page)).toBe('connected');
  await expect.poll(() => reasons, { timeout: 20_000 }).toEqual(['connect', 'renew']); // a life under a minute: at half of it
  const renewal = () => sockets[0].received.find(({ type, renewal: again }) => type === 'auth:success' && again);
  await expect.poll(renewal).toMatchObject({ renewal: true });
  expect(renewal()).not.toHaveProperty('resumed');
  expect(renewal().expires_in_ms).toBeGreaterThan(3_000_000);
  const order = await relay.postOrder({}, { restaurant });
  await expect.poll(() => orderSet(page)).toEqual([`${order.id} new`]);
  expect(sockets).toHaveLength(1);
  expect((await seen(page)).states).toEqual(['connecting', 'connected']);
});

test('a refused token ends in an error, is never sent again, and a good one heals', async ({ page }) => {
  const restaurant = 'refused';
  let good = false;
  const reasons = [];
  const sockets = watchSockets(page);
  await record(page);
  await openLab(page, lab, options(restaurant, {
    getToken: ({ reason }) => {
      reasons.push(reason);
      return good ? relay.token({ restaurant }) : 'not.a.token';
    },
  }));
  expect(await connectLab(page)).toBe('auth_failed');
  expect(await page.evaluate(() => window.__tautline.service.getConnectionState())).toBe('error');
  expect(reasons).toEqual(['connect', 'rejected']);
  // The same value came back: it was not sent a second time.
  const sent = sockets.flatMap((socket) => socket.sent.filter(({ type }) => type === 'auth'));
  expect(sent).toHaveLength(1);

  good = true;
  expect(await connectLab(page)).toBe('connected');
  const order = await relay.postOrder({}, { restaurant });
  await expect.poll(() => orderSet(page)).toEqual([`${order.id} new`]);
});

test('another restaurant’s token is refused for good', async ({ page }) => {
  await record(page);
  await openLab(page, lab, options('mine', { getToken: () => relay.token({ restaurant: 'theirs' }) }));
  expect(await connectLab(page)).toBe('auth_forbidden');
  expect(await page.evaluate(() => window.__tautline.service.getConnectionState())).toBe('error');
});

test('a getToken that throws is tried again', async ({ page }) => {
  const restaurant = 'throws';
  let calls = 0;
  await openLab(page, lab, options(restaurant, {
    reconnectInterval: 200,
    getToken: () => {
      calls += 1;
      if (calls < 3) throw new Error('the shop’s own server is down');
      return relay.token({ restaurant });
    },
  }));
  expect(await connectLab(page)).toBe('connected');
  expect(calls).toBe(3);
});

test('the page says that its token was refused, and one button mends it', async ({ page }) => {
  const restaurant = 'words';
  await page.route('**/dev/token?*', (route) => route.fulfill({ json: { token: 'not.a.token' } }));
  await page.goto(`${relay.url}/?restaurant_id=${restaurant}`);
  await expect(connection(page)).toHaveAttribute('data-state', 'error');
  const banner = page.locator('[data-testid=stale-banner]');
  await expect(banner).toContainText('refused this page’s token');

  await page.unroute('**/dev/token?*');
  await banner.getByRole('button', { name: 'Connect' }).click();
  await expect(connection(page)).toHaveAttribute('data-state', 'connected');
  await expect(banner).toBeHidden();
  const order = await relay.postOrder({}, { restaurant });
  await expect(ticket(page, order.id)).toHaveCount(1);
});

test('a display without any token yet keeps trying', async ({ page }) => {
  const restaurant = 'none-yet';
  let asked = 0;
  await page.route('**/dev/token?*', (route) => {
    asked += 1;
    return asked < 3 ? route.fulfill({ status: 503, body: '' }) : route.continue();
  });
  await openDisplay(page, relay.url, { restaurant });
  expect(asked).toBeGreaterThanOrEqual(3);
});

test('no token and nobody’s name is in the relay’s most verbose log', async ({ page }) => {
  const restaurant = 'secrets';
  await openDisplay(page, relay.url, { restaurant });
  const order = await relay.postOrder({ customer_name: 'Zebulon', customer_phone: '5550199', notes: 'allergic to everything' }, { restaurant });
  await expect(ticket(page, order.id)).toHaveCount(1);
  await relay.restart(); // what is said at an end and at a start, too
  await expect(ticket(page, order.id)).toHaveCount(1);
  expect(relay.logs).toContain('going down');
  for (const secret of [/eyJ[\w-]+\./, /not\.a\.token/, /Bearer/i, /Zebulon/, /5550199/, /allergic/]) expect(relay.logs).not.toMatch(secret);
});
