// The display and the order set: what is posted, bumped, ticked, recalled and refused is on every open page.

import { expect, test } from '@playwright/test';
import { faults, NO_FAULTS, openDisplay, orderSet, record, relaySet, seen, startProxy, startRelay, ticket, tickets } from './harness/index.mjs';

let relay;
test.beforeAll(async () => {
  relay = await startRelay();
});
test.afterAll(() => relay?.stop());

const burger = (fields = {}) => ({ menu_item_id: 'burger', name: 'Burger', quantity: 1, price: 9.5, ...fields });
const bump = (page, id) => ticket(page, id).locator('[data-action=bump]');
const tick = (page, id, item) => ticket(page, id).locator(`[data-item-id="${item}"]`);
const pending = (page, id) => page.locator(`[data-testid=ticket][data-order-id="${id}"][data-pending]`);
const statusAtRelay = async (restaurant, id) => (await relay.orders({ restaurant })).find((order) => order.id === id)?.status;

const others = [];
test.afterEach(async () => {
  for (const context of others.splice(0)) await context.close();
});

/** Two displays of the same kitchen, each on a screen of its own: a tab behind another draws once a second. */
async function openTwo(page, restaurant) {
  const context = await page.context().browser().newContext();
  others.push(context);
  const second = await context.newPage();
  for (const display of [page, second]) {
    await record(display);
    await openDisplay(display, relay.url, { restaurant });
  }
  return second;
}

test('posted orders are on every open page, in order, once', async ({ page }) => {
  const restaurant = 'posted';
  const first = await relay.postOrder({ table_number: '1' }, { restaurant });
  const second = await openTwo(page, restaurant);
  const posted = [first];
  for (const table of ['2', '3', '4', '5']) posted.push(await relay.postOrder({ table_number: table }, { restaurant }));

  const ids = posted.map(({ id }) => id);
  for (const display of [page, second]) {
    await expect(ticket(display)).toHaveCount(5);
    expect((await tickets(display)).map(({ id }) => id)).toEqual(ids);
    await expect(ticket(display, posted[4].id)).toContainText('Table 5');
    const told = await seen(display);
    expect(faults(told)).toEqual(NO_FAULTS);
    expect(told.updates.map(({ orderId, initial }) => [orderId, initial])).toEqual(ids.map((id) => [id, id === first.id]));
    expect(await orderSet(display)).toEqual(await relaySet(relay, restaurant));
  }
});

test('a bump by button or number key moves the order everywhere', async ({ page }) => {
  const restaurant = 'bumped';
  const [one, two] = [await relay.postOrder({}, { restaurant }), await relay.postOrder({}, { restaurant })];
  const second = await openTwo(page, restaurant);

  await bump(page, one.id).click();
  for (const display of [page, second]) await expect(ticket(display, one.id)).toHaveAttribute('data-status', 'confirmed');
  expect(await statusAtRelay(restaurant, one.id)).toBe('confirmed');

  // The marked column is the first with tickets: `1` is the one left in it.
  await second.keyboard.press('1');
  for (const display of [page, second]) await expect(ticket(display, two.id)).toHaveAttribute('data-status', 'confirmed');
  // Now both are in the next one, oldest first.
  await second.keyboard.press('2');
  for (const display of [page, second]) await expect(ticket(display, two.id)).toHaveAttribute('data-status', 'preparing');
  expect(await statusAtRelay(restaurant, two.id)).toBe('preparing');
  await expect(pending(page, two.id)).toHaveCount(0);

  // All the way: off the board, onto the list of what was just bumped.
  for (const status of ['ready', 'picked-up']) {
    await bump(page, two.id).click();
    await expect.poll(() => statusAtRelay(restaurant, two.id)).toBe(status);
  }
  for (const display of [page, second]) {
    await expect(ticket(display, two.id)).toHaveCount(0);
    await expect(display.locator(`[data-testid=bumped][data-order-id="${two.id}"]`)).toHaveAttribute('data-status', 'picked-up');
  }
});

test('what was bumped is recalled, by Backspace and from the list', async ({ page }) => {
  const restaurant = 'recalled';
  const order = await relay.postOrder({}, { restaurant });
  const second = await openTwo(page, restaurant);

  await bump(page, order.id).click();
  await expect(ticket(second, order.id)).toHaveAttribute('data-status', 'confirmed');
  await page.keyboard.press('Backspace');
  for (const display of [page, second]) await expect(ticket(display, order.id)).toHaveAttribute('data-status', 'pending');

  expect((await relay.api('PATCH', `/orders/${order.id}/status`, { status: 'picked-up' }, { restaurant })).status).toBe(200);
  await expect(ticket(page, order.id)).toHaveCount(0);
  await page.locator(`[data-testid=bumped][data-order-id="${order.id}"] [data-action=recall]`).click();
  for (const display of [page, second]) await expect(ticket(display, order.id)).toHaveAttribute('data-status', 'ready');
  expect(await statusAtRelay(restaurant, order.id)).toBe('ready');
});

test('items are ticked one by one', async ({ page }) => {
  const restaurant = 'ticked';
  const order = await relay.postOrder({ items: [burger(), burger({ name: 'Fries', menu_item_id: 'fries' })] }, { restaurant });
  const second = await openTwo(page, restaurant);
  const [a, b] = order.items;

  await tick(page, order.id, a.id).click();
  for (const display of [page, second]) {
    await expect(tick(display, order.id, a.id)).toHaveAttribute('aria-pressed', 'true');
    await expect(tick(display, order.id, b.id)).toHaveAttribute('aria-pressed', 'false');
    // Items do not change the order's state by themselves.
    await expect(ticket(display, order.id)).toHaveAttribute('data-status', 'new');
  }
  const [stored] = await relay.orders({ restaurant });
  expect(stored.items.map(({ status }) => status)).toEqual(['ready', 'pending']);

  await tick(second, order.id, a.id).click();
  for (const display of [page, second]) await expect(tick(display, order.id, a.id)).toHaveAttribute('aria-pressed', 'false');
});

test('an optimistic change shows at once and is taken back when refused', async ({ page }) => {
  const restaurant = 'refused';
  const order = await relay.postOrder({}, { restaurant });
  await openDisplay(page, relay.url, { restaurant });
  await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'new');

  // Two steps back, which no role may do: shown in the same turn, gone with the answer.
  await relay.api('PATCH', `/orders/${order.id}/status`, { status: 'preparing' }, { restaurant });
  await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'preparing');
  const told = await page.evaluate(async (id) => {
    const { orders } = window.__tautline;
    const status = () => orders.orders().find((one) => one.id === id)?.status;
    const shown = [status()];
    const refused = orders.updateOrderStatus(id, 'new', { optimistic: true }).then(() => undefined, (error) => error);
    shown.push(status());
    const { code, nackCode, outcome } = (await refused) ?? {};
    shown.push(status());
    return { shown, code, nackCode, outcome };
  }, order.id);
  expect(told).toEqual({ shown: ['preparing', 'new', 'preparing'], code: 'nack', nackCode: 'invalid_transition', outcome: 'not_applied' });
  await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'preparing');
});

test('a bump that somebody else was quicker with gives way, and the page says why', async ({ page }) => {
  const restaurant = 'conflict';
  const order = await relay.postOrder({}, { restaurant });
  const proxy = await startProxy(relay.url);
  try {
    await openDisplay(page, proxy.url, { restaurant });
    await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'new');

    proxy.silence();
    await bump(page, order.id).click();
    await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'confirmed');
    await expect(pending(page, order.id)).toHaveCount(1);
    expect((await relay.api('PATCH', `/orders/${order.id}/status`, { status: 'ready' }, { restaurant })).status).toBe(200);
    await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'confirmed');

    await proxy.resume();
    await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'ready');
    await expect(pending(page, order.id)).toHaveCount(0);
    await expect(page.locator('.notice')).toContainText('somebody else was quicker');
  } finally {
    await proxy.stop();
  }
});

test('a bump made while the network is away is kept and sent once', async ({ page }) => {
  const restaurant = 'kept';
  const order = await relay.postOrder({}, { restaurant });
  const proxy = await startProxy(relay.url);
  try {
    await record(page);
    await openDisplay(page, proxy.url, { restaurant });
    await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'new');
    await proxy.refuse();
    await bump(page, order.id).click();
    await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'confirmed');
    expect(await statusAtRelay(restaurant, order.id)).toBe('new');
    await proxy.resume();
    await expect.poll(() => statusAtRelay(restaurant, order.id)).toBe('confirmed');
    await expect(pending(page, order.id)).toHaveCount(0);
    const changes = (await seen(page)).updates.filter(({ action }) => action === 'status_changed');
    expect(changes).toHaveLength(1);
  } finally {
    await proxy.stop();
  }
});

test('the station filter and the all-day counts', async ({ page }) => {
  const restaurant = 'stations';
  const grill = await relay.postOrder({ items: [burger({ quantity: 2, station: 'Grill' })] }, { restaurant });
  const fryer = await relay.postOrder({ items: [burger({ menu_item_id: 'fries', name: 'Fries', quantity: 3, station: 'Fryer' })] }, { restaurant });
  const both = await relay.postOrder({ items: [burger({ station: 'Grill' }), burger({ menu_item_id: 'fries', name: 'Fries', station: 'Fryer' })] }, { restaurant });
  await openDisplay(page, relay.url, { restaurant });
  const allDay = () => page.locator('.dish').evaluateAll((dishes) =>
    dishes.map((dish) => [dish.querySelector('.dish-name').textContent, Number(dish.querySelector('.dish-open').textContent)]));

  await expect(ticket(page)).toHaveCount(3);
  await expect.poll(allDay).toEqual([['Fries', 4], ['Burger', 3]]);

  await page.locator('[data-station="Grill"]').click();
  await expect(ticket(page)).toHaveCount(2);
  expect((await tickets(page)).map(({ id }) => id)).toEqual([grill.id, both.id]);
  await expect.poll(allDay).toEqual([['Burger', 3]]);
  await tick(page, both.id, both.items[0].id).click();
  await expect.poll(allDay).toEqual([['Burger', 2]]);

  await page.getByRole('button', { name: 'All stations' }).click();
  await expect(ticket(page)).toHaveCount(3);
  await bump(page, fryer.id).click();
  await expect.poll(allDay).toEqual([['Fries', 4], ['Burger', 2]]);
});

test('an order placed on the page is everywhere, with the sums of the relay', async ({ page }) => {
  const restaurant = 'placed';
  const second = await openTwo(page, restaurant);
  await page.locator('[data-testid=place-order]').click();
  await expect(ticket(second)).toHaveCount(1);
  await expect(ticket(page)).toHaveCount(1);
  const [order] = await relay.orders({ restaurant });
  expect(order.status).toBe('new');
  expect(order.total).toBeCloseTo(order.items.reduce((sum, item) => sum + item.subtotal, 0), 6);
  expect(await orderSet(page)).toEqual(await relaySet(relay, restaurant));

  // Deleted by HTTP: off every board.
  expect((await relay.api('DELETE', `/orders/${order.id}`, undefined, { restaurant })).status).toBe(204);
  for (const display of [page, second]) await expect(ticket(display)).toHaveCount(0);
});

test('the same order posted twice under one Idempotency-Key is one order', async ({ page }) => {
  const restaurant = 'once';
  await openDisplay(page, relay.url, { restaurant });
  const [a, b] = await Promise.all([relay.postOrder({}, { restaurant, key: 'k-1' }), relay.postOrder({}, { restaurant, key: 'k-1' })]);
  expect(a.id).toBe(b.id);
  await expect(ticket(page)).toHaveCount(1);
  expect(await relaySet(relay, restaurant)).toHaveLength(1);
});

test('no page and no list ever holds a phone number', async ({ page }) => {
  const restaurant = 'phone';
  const frames = [];
  page.on('websocket', (ws) => ws.on('framereceived', ({ payload }) => frames.push(payload)));
  const before = await relay.postOrder({ customer_phone: '+49 30 5550101' }, { restaurant });
  await openDisplay(page, relay.url, { restaurant });
  await relay.postOrder({ customer_phone: '+49 30 5550102' }, { restaurant });
  await expect(ticket(page)).toHaveCount(2);
  expect(frames.join('')).not.toContain('5550');
  expect(JSON.stringify(await relay.orders({ restaurant }))).not.toContain('5550');
  expect(relay.logs).not.toMatch(/555010[12]/);
  const { body } = await relay.api('GET', `/orders/${before.id}`, undefined, { restaurant });
  expect(body.customer_phone).toBe('+49 30 5550101');
});

test('the console stays silent, and nothing is asked for from elsewhere', async ({ page }) => {
  const said = [];
  const asked = new Set();
  page.on('console', (message) => said.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => said.push(String(error)));
  page.on('request', (request) => asked.add(new URL(request.url()).origin));
  await openDisplay(page, relay.url, { restaurant: 'console' });
  await page.locator('[data-testid=place-order]').click();
  await expect(ticket(page)).toHaveCount(1);
  await ticket(page).locator('[data-action=bump]').click();
  await expect(ticket(page)).toHaveAttribute('data-status', 'confirmed');
  expect(said).toEqual([]);
  expect([...asked]).toEqual([relay.url]);
});
