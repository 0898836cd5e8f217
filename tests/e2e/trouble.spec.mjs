// The display's own trouble buttons: each is seen, and each heals by itself.

import { expect, test } from '@playwright/test';
import { connection, faults, NO_FAULTS, openDisplay, orderSet, record, relaySet, seen, startRelay, ticket, watchSockets } from './harness/index.mjs';

let relay;
test.beforeAll(async () => {
  relay = await startRelay();
});
test.afterAll(() => relay?.stop());

// The whole service panel is in sight.
test.use({ viewport: { width: 1920, height: 1080 } });

const counter = (page, name) => page.locator(`[data-counter="${name}"] dd`);

/** Presses a button; the page loses its connection and finds it again by itself, with what came meanwhile. */
async function heals(page, kind, restaurant, { timeout = 15_000 } = {}) {
  const sockets = watchSockets(page);
  await record(page);
  await openDisplay(page, relay.url, { restaurant });
  const before = await relay.postOrder({}, { restaurant });
  await expect(ticket(page, before.id)).toHaveCount(1);

  await page.locator(`[data-testid=trouble-${kind}]`).click();
  await expect.poll(() => sockets.length, { timeout }).toBeGreaterThan(1);
  await expect(connection(page)).toHaveAttribute('data-state', 'connected', { timeout });
  const after = await relay.postOrder({}, { restaurant });
  await expect(ticket(page, after.id)).toHaveCount(1);
  await expect(page.locator('[data-testid=stale-banner]')).toBeHidden();
  await expect(counter(page, 'Reconnects')).not.toHaveText('0');
  await expect(counter(page, 'Resumes')).not.toHaveText('0');
  await expect(page.locator('[data-testid=ledger] [data-kind=socket] dd')).toHaveText('1');
  expect(await orderSet(page)).toEqual(await relaySet(relay, restaurant));
  const told = await seen(page);
  expect(faults(told)).toEqual(NO_FAULTS);
  return told;
}

test('cut the socket', async ({ page }) => {
  await heals(page, 'cut', 'cut');
});

test('swallow traffic', async ({ page }) => {
  const { closes } = await heals(page, 'stall', 'stall', { timeout: 20_000 });
  expect(closes).toContain(4100); // found by an unanswered ping
});

test('expire the token', async ({ page }) => {
  const { disconnects } = await heals(page, 'expire', 'expire');
  expect(disconnects).toContainEqual({ code: 4001, willReconnect: true });
});

test('restart the relay', async ({ page }) => {
  await heals(page, 'restart', 'restart', { timeout: 30_000 });
});

test('a relay that goes down in order tells the page when to come back', async ({ page }) => {
  const restaurant = 'drained';
  await record(page);
  await openDisplay(page, relay.url, { restaurant });
  await relay.restart(); // SIGTERM
  await expect.poll(async () => (await seen(page)).states.at(-1), { timeout: 15_000 }).toBe('connected');
  const { disconnects, resumes } = await seen(page);
  expect(disconnects).toEqual([{ code: 1012, willReconnect: true }]);
  expect(resumes).toHaveLength(1);
});

test('the trouble is the page’s own: another screen keeps its socket', async ({ page, browser }) => {
  const restaurant = 'own';
  const other = await (await browser.newContext()).newPage();
  const sockets = watchSockets(page);
  const others = watchSockets(other);
  await openDisplay(page, relay.url, { restaurant });
  await openDisplay(other, relay.url, { restaurant });
  await page.locator('[data-testid=trouble-cut]').click();
  await expect.poll(() => sockets.length).toBe(2);
  await expect(connection(page)).toHaveAttribute('data-state', 'connected');
  expect(others).toHaveLength(1);
  await other.context().close();
});

test('start a rush', async ({ page }) => {
  const restaurant = 'rush';
  await record(page);
  await openDisplay(page, relay.url, { restaurant });
  await page.locator('#rush-rate').selectOption('10');
  await page.locator('#rush-seconds').selectOption('10');
  await page.locator('[data-testid=trouble-rush]').click();
  await expect(page.locator('[data-testid=trouble-rush]')).toHaveText('Stop the rush');
  await expect.poll(async () => (await relay.orders({ restaurant })).length, { timeout: 20_000 }).toBe(100);
  await expect(page.locator('[data-testid=trouble-rush]')).toHaveText('Start a rush');
  await expect.poll(() => orderSet(page)).toEqual(await relaySet(relay, restaurant));
  const told = await seen(page);
  expect(faults(told)).toEqual(NO_FAULTS);
  expect(told.errors).toEqual([]);
  await expect(page.locator('.notice')).toHaveCount(0);
});
