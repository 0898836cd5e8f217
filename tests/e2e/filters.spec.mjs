// `setFilter()`: what is delivered, and the order set, are what the filter shows, live, after a cut, and back again.

import { expect, test } from '@playwright/test';
import { LAB_ORIGIN, connectLab, openLab, startLab, startProxy, startRelay } from './harness/index.mjs';

let lab;
let relay;
test.beforeAll(async () => {
  lab = await startLab();
  relay = await startRelay({ args: LAB_ORIGIN, www: null });
});
test.afterAll(async () => {
  await relay?.stop();
  await lab?.stop();
});

/** A snapshot's orders come in an order of its own. */
const shown = async (page) => (await page.evaluate(() => window.__tautline.orders.orders().map(({ id }) => id))).sort();
const told = (page) => page.evaluate(() => window.told.splice(0));
const setFilter = (page, filter) =>
  page.evaluate(async (wanted) => {
    try {
      await window.__tautline.service.setFilter(wanted);
      return 'taken';
    } catch ({ code, nackCode }) {
      return nackCode ?? code;
    }
  }, filter);

/** A client behind a proxy that can be cut, remembering what it was told. */
async function open(page, restaurant) {
  const proxy = await startProxy(relay.port);
  await openLab(page, lab, {
    url: `${proxy.url}/ws`,
    restaurantId: restaurant,
    reconnectInterval: 100,
    getToken: () => relay.token({ restaurant, role: 'kitchen' }),
  });
  await page.evaluate(() => {
    window.told = [];
    window.heard = [];
    window.__tautline.orders.onOrderUpdate(({ action, orderId, source }) => window.told.push([action, orderId, source]));
    window.__tautline.service.subscribe('order:created', ({ order }) => window.heard.push(order.id));
    window.__tautline.service.on('gap', (gap) => window.told.push(['gap', gap]));
  });
  return proxy;
}

test('the order set follows the filter, and the differences are told', async ({ page }) => {
  const restaurant = 'filtered';
  const post = async (table) => (await relay.postOrder({ table_number: table }, { restaurant })).id;
  const [one, two] = [await post('1'), await post('2')];
  const proxy = await open(page, restaurant);
  try {
    expect(await connectLab(page)).toBe('connected');
    await expect.poll(() => shown(page)).toEqual([one, two].sort());
    await told(page);

    expect(await setFilter(page, { events: ['order:*'], filters: { table_number: 1 } })).toBe('taken');
    // Delivered from now on is what passes, whatever the snapshot of it waits for.
    const [three, four] = [await post('2'), await post('1')];
    await expect.poll(() => shown(page)).toEqual([one, four].sort());
    expect(await page.evaluate(() => window.heard)).toEqual([four]);
    const first = await told(page);
    expect(first.filter(([, id]) => id === two)).toEqual([['deleted', two, 'snapshot']]);
    expect(first.filter(([, id]) => id === three || id === one)).toEqual([]);
    expect(first.filter(([action]) => action === 'gap')).toEqual([]);

    // Remembered: the next connection begins with it, and resumes.
    const before = await page.evaluate(() => window.__tautline.service.stats());
    proxy.cut();
    const [, six] = [await post('2'), await post('1')];
    await expect.poll(() => shown(page)).toEqual([one, four, six].sort());
    const after = await page.evaluate(() => window.__tautline.service.stats());
    expect([after.resumes - before.resumes, after.gaps]).toEqual([1, 0]);
    expect(await told(page)).toEqual([['created', six, 'event']]);

    expect(await setFilter(page, null)).toBe('taken');
    await expect.poll(async () => (await shown(page)).length).toBe(6);
    expect((await told(page)).map(([action, , source]) => [action, source])).toEqual(Array(3).fill(['created', 'snapshot']));
  } finally {
    await page.evaluate(() => window.__tautline.dispose());
    await proxy.stop();
  }
});

test('a filter set before connecting travels in auth, and many at once end with the last', async ({ page }) => {
  const restaurant = 'filtered-early';
  const post = async (table) => (await relay.postOrder({ table_number: table }, { restaurant })).id;
  const [one, two] = [await post('1'), await post('2')];
  const proxy = await open(page, restaurant);
  try {
    expect(await setFilter(page, { filters: { table_number: '2' } })).toBe('taken');
    expect(await connectLab(page)).toBe('connected');
    await expect.poll(() => shown(page)).toEqual([two].sort());
    expect(await told(page)).toEqual([['created', two, 'snapshot']]);

    const settled = await page.evaluate(() => {
      const each = Array.from({ length: 20 }, (_, n) => window.__tautline.service.setFilter({ filters: { table_number: String(20 - n) } }));
      return Promise.all(each.map((one) => one.then(() => 'taken', ({ code }) => code)));
    });
    expect(settled).toEqual(['taken', ...Array(18).fill('aborted'), 'taken']);
    await expect.poll(() => shown(page)).toEqual([one].sort());
  } finally {
    await page.evaluate(() => window.__tautline.dispose());
    await proxy.stop();
  }
});
