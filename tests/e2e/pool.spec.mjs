// A pool over several ways to one relay, each of which can fail by itself: every event once, every order once, nothing left.

import { expect, test } from '@playwright/test';
import { LAB_ORIGIN, openBrowser, startLab, startProxy, startRelay } from './harness/index.mjs';

const WAYS = ['127.0.0.2', '127.0.0.3', '127.0.0.4'];
/** Short enough to see two missed pings, as often as a pool may check. */
const CHECK_MS = 1_000;

let relay;
let lab;
let ways;
test.beforeAll(async () => {
  [relay, lab] = await Promise.all([startRelay({ args: LAB_ORIGIN, www: null }), startLab()]);
});
test.afterAll(() => Promise.all([relay?.stop(), lab?.stop()]));
test.beforeEach(async () => {
  ways = await Promise.all(WAYS.map((host) => startProxy(relay.url, host)));
});
test.afterEach(() => Promise.all((ways ?? []).map((way) => way.stop())));

const socketOf = (way) => `${way.url.replace('http', 'ws')}/ws`;
const order = (name) => ({ type: 'dine-in', table_number: name, items: [{ menu_item_id: 'm', name, quantity: 1, price: 1 }] });

/** Opens a pool at `window.pool`, connected everywhere; what it hears is in `window.heard`. */
async function openPool(page, restaurant, options = {}) {
  const connections = options.maxConnections ?? WAYS.length;
  const token = await relay.token({ restaurant, sub: 'pool' });
  await page.goto(`${lab.url}/`);
  await page.waitForFunction(() => window.tautline !== undefined);
  await page.evaluate(async ([given, token]) => {
    const pool = new window.tautline.WebSocketPool({ ...given, getToken: () => token });
    const heard = { events: [], failovers: [], gaps: [], states: [], errors: [], health: [] };
    pool.on('message', ({ type, seq, payload }) => heard.events.push({ type, seq, table: payload.order?.table_number }));
    pool.on('failover', (event) => heard.failovers.push(event));
    pool.on('gap', (event) => heard.gaps.push(event));
    pool.on('stateChange', (state) => heard.states.push(state));
    pool.on('health', ({ url, healthy }) => heard.health.push([url, healthy]));
    pool.on('error', ({ code }) => heard.errors.push(code));
    Object.assign(window, { pool, heard });
    await pool.connect();
  }, [{ urls: ways.map(socketOf), restaurantId: restaurant, healthCheckInterval: CHECK_MS, reconnectInterval: 100, maxReconnectDelay: 300, ...options }, token]);
  await allHealthy(page, connections);
}

const health = (page) => page.evaluate(() => window.pool.getHealthStatus());
const heard = (page) => page.evaluate(() => window.heard);
const allHealthy = (page, count = WAYS.length) => expect.poll(async () => (await health(page)).filter(({ healthy }) => healthy).length).toBe(count);
/** Which of the ways the primary is. */
const primary = async (page) => (await health(page)).findIndex((member) => member.primary);

/** Sends an order, not waiting for its answer, which goes to `window.answers`. */
const post = (page, name) => page.evaluate(({ name, order }) => {
  window.answers ??= {};
  window.pool.send({ type: 'order:create', data: { order } }).then(
    (ack) => (window.answers[name] = { id: ack.result?.order.id, seq: ack.seq }),
    ({ code, outcome }) => (window.answers[name] = { code, outcome }),
  );
}, { name, order: order(name) });
const answers = (page) => page.evaluate(() => window.answers);

/** Every event of the log after `from` was heard once and in order. */
async function heardAll(page, from, count) {
  await expect.poll(async () => (await heard(page)).events.length).toBe(count);
  expect((await heard(page)).events.map(({ seq }) => seq)).toEqual(Array.from({ length: count }, (_, n) => from + 1 + n));
  expect((await heard(page)).gaps).toEqual([]);
}

/** Ends it, and finds nothing left in the page and at the relay. */
async function endsClean(page, restaurant) {
  expect((await heard(page)).errors).toEqual([]);
  await page.evaluate(() => window.pool.dispose());
  await expect.poll(() => page.evaluate(() => Object.values(window.tautline.resources.counts()).reduce((sum, count) => sum + count, 0))).toBe(0);
  await expect.poll(async () => (await relay.sessions({ restaurant })).length).toBe(0);
}

test('each event once, whichever of three connections brings it', async ({ page }) => {
  const restaurant = 'pool-once';
  await openPool(page, restaurant);
  expect((await relay.sessions({ restaurant })).length).toBe(3);
  for (let n = 0; n < 20; n += 1) await relay.postOrder({ table_number: String(n) }, { restaurant });
  await heardAll(page, 0, 20);
  await expect.poll(() => page.evaluate(() => window.pool.getStatistics().duplicates)).toBe(40);
  await endsClean(page, restaurant);
});

test('a connection dies when the order is in and its answer is not: one order, and its answer by another connection', async ({ page }) => {
  const restaurant = 'pool-answer-lost';
  await openPool(page, restaurant, { loadBalancingStrategy: 'round-robin' });
  await post(page, 'first');
  await expect.poll(() => answers(page)).toMatchObject({ first: { seq: 1 } });

  // The next is given to the second.
  ways[1].mute();
  await post(page, 'second');
  await expect.poll(async () => (await relay.orders({ restaurant })).length).toBe(2);
  expect(await answers(page)).not.toHaveProperty('second');
  await ways[1].refuse();
  await expect.poll(() => answers(page)).toHaveProperty('second');

  const orders = await relay.orders({ restaurant });
  const made = orders.filter(({ table_number }) => table_number === 'second');
  expect(made).toHaveLength(1);
  expect((await answers(page)).second).toEqual({ id: made[0].id, seq: 2 });
  await heardAll(page, 0, 2);
  expect(await page.evaluate(() => window.pool.getStatistics())).toMatchObject({ sent: 2, settled: 2, moved: 1, pending: 0 });
  await endsClean(page, restaurant);
});

test('a connection falls silent before the order is in: two missed pings, and another brings it', async ({ page }) => {
  const restaurant = 'pool-silent';
  await openPool(page, restaurant, { loadBalancingStrategy: 'round-robin' });
  const silent = await primary(page);
  ways[silent].silence();
  // Each gets one, the silent one too.
  for (const name of ['a', 'b', 'c']) await post(page, name);
  await expect.poll(async () => Object.keys((await answers(page)) ?? {}).length).toBe(3);
  expect((await relay.orders({ restaurant })).map(({ table_number }) => table_number).sort()).toEqual(['a', 'b', 'c']);
  const { failovers } = await heard(page);
  expect(failovers).toEqual([{ from: socketOf(ways[silent]), to: socketOf(ways[await primary(page)]) }]);

  // Nothing more is given to it; it is back when it has proved itself.
  for (const name of ['d', 'e', 'f']) await post(page, name);
  await expect.poll(async () => Object.keys(await answers(page)).length).toBe(6);
  await ways[silent].resume();
  await allHealthy(page);
  await heardAll(page, 0, 6);
  expect((await heard(page)).failovers).toHaveLength(1);
  await endsClean(page, restaurant);
});

test('thirty orders while connections die in turn: thirty orders, thirty answers, each event once', async ({ page }) => {
  const restaurant = 'pool-rush';
  await openPool(page, restaurant, { loadBalancingStrategy: 'least-pending' });
  for (let n = 0; n < 30; n += 1) {
    await post(page, `t${n}`);
    const way = ways[n % WAYS.length];
    if (n % 3 === 0) way.mute();
    if (n % 3 === 1) way.cutAfter(40);
    if (n % 5 === 4) ways.forEach((one) => one.cut());
    if (n % 4 === 3) await expect.poll(async () => (await health(page)).some(({ state }) => state === 'connected')).toBe(true);
  }
  // A connection that is mute only is found out by its pings.
  await expect.poll(async () => Object.keys((await answers(page)) ?? {}).length, { timeout: 30_000 }).toBe(30);
  const orders = await relay.orders({ restaurant });
  expect(orders.map(({ table_number }) => table_number).sort()).toEqual(Array.from({ length: 30 }, (_, n) => `t${n}`).sort());
  const told = await answers(page);
  for (const { id, table_number } of orders) expect(told[table_number].id).toBe(id);
  await heardAll(page, 0, 30);
  await endsClean(page, restaurant);
});

test('the relay is killed and comes back: every connection resumes, nothing is missed', async ({ page }) => {
  const restaurant = 'pool-killed';
  await openPool(page, restaurant);
  for (let n = 0; n < 3; n += 1) await relay.postOrder({}, { restaurant });
  await heardAll(page, 0, 3);
  await relay.kill9();
  await expect.poll(async () => (await heard(page)).states.at(-1)).toBe('reconnecting');
  await post(page, 'waits');
  await relay.restart();
  await relay.postOrder({}, { restaurant });
  await expect.poll(() => answers(page)).toHaveProperty('waits');
  expect((await answers(page)).waits).toHaveProperty('id');
  await heardAll(page, 0, 5);
  await endsClean(page, restaurant);
});

test('a filter outlives failover and reconnects', async ({ page }) => {
  const restaurant = 'pool-filter';
  await openPool(page, restaurant, { maxConnections: 1 });
  await page.evaluate(() => window.pool.setFilter({ events: ['order:*'], filters: { table_number: '7' } }));
  await relay.postOrder({ table_number: '7' }, { restaurant });
  await relay.postOrder({ table_number: '8' }, { restaurant });
  for (let n = 0; n < 2; n += 1) {
    const at = await primary(page);
    await ways[at].refuse();
    await expect.poll(async () => (await health(page)).some(({ primary: is, healthy }, way) => is && healthy && way !== at)).toBe(true);
    await ways[at].resume();
    await relay.postOrder({ table_number: '8' }, { restaurant });
    await relay.postOrder({ table_number: '7' }, { restaurant });
  }
  await expect.poll(async () => (await heard(page)).events.length).toBe(3);
  expect((await heard(page)).events.map(({ seq, table }) => [seq, table])).toEqual([[1, '7'], [4, '7'], [6, '7']]);
  expect((await heard(page)).gaps).toEqual([]);
  await endsClean(page, restaurant);
});

test('back navigation: put away with its page a pool has no connection and opens none, and comes back as it was', async ({ launchOptions }) => {
  const restaurant = 'pool-back';
  const browser = await openBrowser({ launchOptions });
  try {
    const page = await browser.newPage();
    await openPool(page, restaurant, { maxConnections: 2 });
    await relay.postOrder({}, { restaurant });
    await heardAll(page, 0, 1);
    await page.evaluate(() => window.addEventListener('pageshow', ({ persisted }) => (window.kept = persisted)));
    await page.goto(`${relay.url}/healthz`);
    await expect.poll(async () => (await relay.sessions({ restaurant })).length).toBe(0);
    for (let n = 0; n < 2; n += 1) await relay.postOrder({}, { restaurant });
    await page.goBack({ waitUntil: 'commit' });
    await heardAll(page, 0, 3);
    expect(await page.evaluate(() => window.kept)).toBe(true);
    await allHealthy(page, 2);
    expect((await health(page)).map(({ state, failures }) => [state, failures])).toEqual([['connected', 0], ['connected', 0], ['disconnected', 0]]);
    expect((await heard(page)).failovers).toEqual([]);
    await endsClean(page, restaurant);
  } finally {
    await browser.close();
  }
});
