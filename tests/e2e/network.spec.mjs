// Bad networks: away, silent without closing, cut in the middle. What comes back is exactly what was missed.

import { expect, test } from '@playwright/test';
import {
  brought, connection, connectLab, faults, LAB_ORIGIN, NO_FAULTS, openDisplay, openLab, orderSet, record, relaySet, seen, startLab, startProxy,
  startRelay, ticket, watchSockets,
} from './harness/index.mjs';

let relay;
let proxy;
test.beforeAll(async () => {
  relay = await startRelay({ args: LAB_ORIGIN });
});
test.afterAll(() => relay?.stop());
test.beforeEach(async () => {
  proxy = await startProxy(relay.url);
});
test.afterEach(() => proxy?.stop());

/** 3 s for the probe, and one connect. */
const CURRENT_MS = 3_000 + 1_500;

const postMany = async (restaurant, count, fields) => {
  for (let n = 0; n < count; n += 1) await relay.api('POST', '/orders', { type: 'dine-in', items: [{ menu_item_id: 'm', name: 'M', quantity: 1, price: 1 }], ...fields }, { restaurant, role: 'service' });
};

/** How long until the page shows what the relay has. */
async function untilCurrent(page, restaurant) {
  const began = Date.now();
  const stored = await relaySet(relay, restaurant);
  await expect.poll(() => orderSet(page), { intervals: [25], timeout: 20_000 }).toEqual(stored);
  return Date.now() - began;
}

/** The newest socket, once it is seen to have brought that many events: frames are reported a little later. */
async function brings(sockets, count) {
  await expect.poll(() => brought(sockets.at(-1)).events.length).toBe(count);
  return sockets.at(-1);
}

test('a resume of k missed events is those k events and no snapshot', async ({ page }) => {
  const restaurant = 'resume';
  const sockets = watchSockets(page);
  await record(page);
  await postMany(restaurant, 3);
  await openDisplay(page, proxy.url, { restaurant });
  await expect(ticket(page)).toHaveCount(3);
  await expect.poll(() => brought(sockets[0]).snapshots).toHaveLength(1);

  await proxy.refuse();
  const missed = 7;
  await postMany(restaurant, missed);
  const { body } = await relay.api('GET', '/orders?limit=1', undefined, { restaurant });
  expect((await relay.api('PATCH', `/orders/${body.orders[0].id}/status`, { status: 'confirmed' }, { restaurant })).status).toBe(200);
  await proxy.resume();
  await untilCurrent(page, restaurant);

  const last = await brings(sockets, missed + 1);
  expect(last).not.toBe(sockets[0]);
  const { events, snapshots, welcome } = brought(last);
  expect(welcome.resumed).toBe(true);
  expect(snapshots).toEqual([]);
  expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: missed + 1 }, (_, n) => 4 + n));
  expect(last.sent[0]).toMatchObject({ type: 'auth', protocol: 'tautline.v1', resume: { seq: 3 } });
  const told = await seen(page);
  expect(faults(told)).toEqual(NO_FAULTS);
  expect(told.resumes).toHaveLength(1);
});

test('many missed events come in batches of at most 64, in order', async ({ page }) => {
  const restaurant = 'batches';
  const sockets = watchSockets(page);
  await openDisplay(page, proxy.url, { restaurant });
  await proxy.refuse();
  await postMany(restaurant, 200);
  await proxy.resume();
  await untilCurrent(page, restaurant);
  const { events, snapshots } = brought(await brings(sockets, 200));
  expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 200 }, (_, n) => 1 + n));
  expect(snapshots).toEqual([]);
  expect(sockets.at(-1).batches).toBeGreaterThanOrEqual(4);
});

test('offline is said, kept honest and over as soon as the network is back', async ({ page, context }) => {
  const restaurant = 'offline';
  await record(page);
  await postMany(restaurant, 1);
  await openDisplay(page, proxy.url, { restaurant });
  await expect(ticket(page)).toHaveCount(1);

  await context.setOffline(true);
  proxy.cut();
  await expect(connection(page)).not.toHaveAttribute('data-state', 'connected');
  await expect(page.locator('[data-testid=stale-banner]')).toBeVisible();
  await expect(page.locator('[data-testid=stale-banner]')).toContainText(/Confirmed up to \d/);
  await postMany(restaurant, 2);
  await expect(ticket(page)).toHaveCount(1); // what was known stays on screen

  await context.setOffline(false);
  expect(await untilCurrent(page, restaurant)).toBeLessThan(CURRENT_MS);
  await expect(connection(page)).toHaveAttribute('data-state', 'connected');
  await expect(page.locator('[data-testid=stale-banner]')).toBeHidden();
  await expect(ticket(page)).toHaveCount(3);
  expect(faults(await seen(page))).toEqual(NO_FAULTS);
});

test('a connection that the network has forgotten is found dead within 3 s of waking', async ({ page, context }) => {
  const restaurant = 'forgotten';
  const sockets = watchSockets(page);
  await record(page);
  await openDisplay(page, proxy.url, { restaurant });
  proxy.forget();
  await postMany(restaurant, 4);
  expect(await orderSet(page)).toEqual([]);

  await context.setOffline(true);
  await context.setOffline(false); // a real `online` event
  expect(await untilCurrent(page, restaurant)).toBeLessThan(CURRENT_MS);
  const { events, snapshots, welcome } = brought(await brings(sockets, 4));
  expect(sockets).toHaveLength(2);
  expect([welcome.resumed, events.length, snapshots.length]).toEqual([true, 4, 0]);
  expect((await seen(page)).closes).toContain(4100);
});

test('silence without closing is noticed by the heartbeat alone', async ({ page }) => {
  const restaurant = 'silent';
  const lab = await startLab();
  try {
    await record(page);
    await openLab(page, lab, { url: `${proxy.url}/ws`, restaurantId: restaurant, heartbeatInterval: 1_000, pongTimeoutMs: 1_000, getToken: () => relay.token({ restaurant }) });
    expect(await connectLab(page)).toBe('connected');
    proxy.forget();
    await postMany(restaurant, 2);
    await untilCurrent(page, restaurant);
    const told = await seen(page);
    expect(told.closes).toEqual([4100]);
    expect(told.states).toContain('reconnecting');
    expect(faults(told)).toEqual(NO_FAULTS);
  } finally {
    await lab.stop();
  }
});

test('what was held up arrives late, once, and nothing is redialled for it', async ({ page }) => {
  const restaurant = 'late';
  const sockets = watchSockets(page);
  await record(page);
  await openDisplay(page, proxy.url, { restaurant });
  proxy.silence();
  await postMany(restaurant, 3);
  await proxy.resume();
  await expect(ticket(page)).toHaveCount(3);
  expect(sockets).toHaveLength(1);
  expect(faults(await seen(page))).toEqual(NO_FAULTS);
});

test('a cut in the middle of a snapshot installs nothing of it', async ({ page }) => {
  const restaurant = 'snapshot';
  const count = 300;
  const posting = Array.from({ length: 6 }, () => postMany(restaurant, count / 6, { notes: 'x'.repeat(900) }));
  await Promise.all(posting);
  const lab = await startLab();
  try {
    const sockets = watchSockets(page);
    await record(page);
    await openLab(page, lab, { url: `${proxy.url}/ws`, restaurantId: restaurant, getToken: () => relay.token({ restaurant }) });
    proxy.cutAfter(200_000); // of some 450 KB
    await connectLab(page);
    await untilCurrent(page, restaurant);

    expect(sockets.length).toBeGreaterThanOrEqual(2);
    await expect.poll(() => brought(sockets[0]).snapshots.length).toBeGreaterThan(0);
    const cutShort = brought(sockets[0]).snapshots;
    expect(cutShort.length).toBeLessThan(cutShort[0].payload.parts);
    const told = await seen(page);
    expect(told.counts.filter((length) => length !== 0 && length !== count)).toEqual([]);
    expect(told.updates).toHaveLength(count);
    expect(faults(told)).toEqual(NO_FAULTS);
  } finally {
    await lab.stop();
  }
});

test('of several addresses the next takes over, without a gap', async ({ page }) => {
  const restaurant = 'addresses';
  const lab = await startLab();
  const other = await startProxy(relay.url, '127.0.0.3');
  try {
    const sockets = watchSockets(page);
    await record(page);
    await postMany(restaurant, 1);
    await proxy.refuse();
    const url = [`${proxy.url}/ws`, `${other.url}/ws`];
    await openLab(page, lab, { url, restaurantId: restaurant, getToken: () => relay.token({ restaurant }) });
    await page.evaluate(() => {
      window.waits = 0;
      window.__tautline.service.on('reconnecting', () => (window.waits += 1));
    });
    expect(await connectLab(page)).toBe('connected');
    expect(await page.evaluate(() => window.waits), 'the second is tried without a wait').toBe(0);
    await untilCurrent(page, restaurant);

    await proxy.resume();
    await other.refuse();
    await postMany(restaurant, 3);
    await untilCurrent(page, restaurant);
    expect(sockets.map(({ url: at }) => new URL(at).origin.replace('ws', 'http')), 'refused, taken, back at the first').toEqual([proxy.url, other.url, proxy.url]);
    expect((await brings(sockets, 3)).received.filter(({ payload }) => payload?.status === 'snapshot')).toEqual([]);
    expect(faults(await seen(page))).toEqual(NO_FAULTS);
  } finally {
    await other.stop();
    await lab.stop();
  }
});

test('a foreign change and a deletion missed beyond the log are told as differences of a snapshot', async ({ page }) => {
  // Without a position to resume from (another epoch): the relay's data folder is emptied under its feet.
  const restaurant = 'epoch';
  const memory = await startRelay({ dataDir: ':memory:', args: LAB_ORIGIN });
  const own = await startProxy(memory.url);
  try {
    const sockets = watchSockets(page);
    await record(page);
    const before = await memory.postOrder({}, { restaurant });
    await openDisplay(page, own.url, { restaurant });
    await expect(ticket(page, before.id)).toHaveCount(1);
    await memory.kill9();
    await memory.restart();
    const after = await memory.postOrder({}, { restaurant });
    await expect(ticket(page, after.id)).toHaveCount(1, { timeout: 20_000 });
    await expect(ticket(page)).toHaveCount(1);
    await expect.poll(() => brought(sockets.at(-1)).snapshots).not.toEqual([]);
    const { welcome, snapshots } = brought(sockets.at(-1));
    expect(welcome.resumed).toBe(false);
    expect(snapshots.length).toBeGreaterThan(0);
    const told = await seen(page);
    const differences = told.updates.filter(({ source, initial }) => source === 'snapshot' && !initial).map(({ action, orderId }) => [action, orderId]);
    expect(differences).toContainEqual(['deleted', before.id]);
    expect(faults(told).again).toEqual([]);
  } finally {
    await own.stop();
    await memory.stop();
  }
});
