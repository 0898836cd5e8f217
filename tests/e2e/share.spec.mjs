// One connection for all tabs: eight of them, whose leader dies, freezes and loses its relay while orders come and are made.
// TAUTLINE_SHARE_ROUNDS=100 plays more rounds; each prints how long it took until every tab was current.

import { expect, test } from '@playwright/test';
import { freeze, LAB_ORIGIN, openBrowser, openLab, startLab, startRelay } from './harness/index.mjs';

const TABS = 8;
const ROUNDS = Number(process.env.TAUTLINE_SHARE_ROUNDS ?? 10);

let relay;
let lab;
test.beforeAll(async () => {
  [relay, lab] = await Promise.all([startRelay({ args: LAB_ORIGIN, www: null }), startLab()]);
});
test.afterAll(() => Promise.all([relay?.stop(), lab?.stop()]));

const sessions = async (restaurant) => (await relay.sessions({ restaurant })).length;
const order = (name) => ({ type: 'dine-in', table_number: name, items: [{ menu_item_id: 'm', name, quantity: 1, price: 1 }] });
const role = (page) => page.evaluate(() => window.__tautline.service.role());
const roles = async (pages) => (await Promise.all(pages.map(role))).sort();
const LEADING = (count) => [...Array(count - 1).fill('follower'), 'leader'];

/** Opens a tab that shares, connected; what it hears is in `window.heard`. */
async function open(page, restaurant, { claims = {}, prepare, filter, ...options } = {}) {
  await openLab(page, lab, { url: `${relay.url}/ws`, restaurantId: restaurant, share: 'device', reconnectInterval: 200, getToken: () => relay.token({ restaurant, sub: 'kds', ...claims }), ...options });
  if (prepare) await page.evaluate(prepare);
  await page.evaluate(async (given) => {
    const { service, orders } = window.__tautline;
    const heard = { seqs: [], first: undefined, gaps: 0, snapshots: 0, errors: [], roles: [], closes: [], made: {} };
    window.heard = heard;
    service.on('message', ({ seq }) => heard.seqs.push(seq));
    service.on('gap', () => (heard.gaps += 1));
    service.on('role', (now) => heard.roles.push(now));
    service.on('disconnected', ({ code }) => heard.closes.push(code));
    service.on('error', ({ code, message }) => heard.errors.push(`${code}: ${message}`));
    window.create = (name, body) => void orders.createOrder(body).then(({ id }) => (heard.made[name] = id), ({ code, message }) => (heard.made[name] = `${code}: ${message}`));
    orders.initialize();
    if (given) void service.setFilter(given);
    await service.connect();
  }, filter);
  return page;
}

/** Until a tab has everything that the log has, and the set of the relay's. */
async function current(page, restaurant) {
  await expect.poll(async () => {
    const [set, stored] = await Promise.all([page.evaluate(() => window.__tautline.orders.orders().map(({ id }) => id).sort()), relay.orders({ restaurant })]);
    return JSON.stringify(set) === JSON.stringify(stored.map(({ id }) => id).sort());
  }, { timeout: 20_000, intervals: [20] }).toBe(true);
}

/** From within the page: its clock is the one that counts. Resolves with when it was there, ms since 1970. */
const reaches = (page, seq) => page.evaluate(async (wanted) => {
  const { service } = window.__tautline;
  while ((service.stats().lastSeq ?? 0) < wanted) await new Promise((resolve) => setTimeout(resolve, 5));
  return Date.now();
}, seq);

const last = async (restaurant) => (await relay.postOrder({ table_number: 'mark' }, { restaurant }), (await log(restaurant)));
/** The head of the restaurant's log. */
async function log(restaurant) {
  const { body } = await relay.api('GET', '/events?limit=1', undefined, { restaurant });
  return body.seq;
}

/** Nothing twice, nothing missed, nothing out of order. */
async function once(page) {
  const { seqs, gaps, errors } = await page.evaluate(() => window.heard);
  expect(seqs).toEqual(seqs.map((_, n) => seqs[0] + n));
  expect([gaps, errors]).toEqual([0, []]);
}

/** Without a SharedWorker, tabs share by locks. */
const WAYS = { worker: () => {}, locks: (context) => context.addInitScript(() => delete window.SharedWorker) };

for (const [way, prepare] of Object.entries(WAYS)) test(`${way}: eight tabs have one connection; each hears everything and makes its own orders`, async ({ context }) => {
  const restaurant = `share-eight-${way}`;
  await prepare(context);
  await relay.postOrder({}, { restaurant });
  const pages = [];
  for (let n = 0; n < TABS; n += 1) pages.push(await open(await context.newPage(), restaurant));
  expect(await sessions(restaurant)).toBe(1);
  expect(await roles(pages)).toEqual(LEADING(TABS));
  for (const [n, page] of pages.entries()) await page.evaluate(([name, body]) => window.create(name, body), [`t${n}`, order(`t${n}`)]);
  for (let n = 0; n < 10; n += 1) await relay.postOrder({}, { restaurant });
  for (const page of pages) await current(page, restaurant);
  for (const page of pages) await once(page);
  const tables = (await relay.orders({ restaurant })).map(({ table_number }) => table_number).filter(Boolean).sort();
  expect(tables).toEqual(Array.from({ length: TABS }, (_, n) => `t${n}`));
  for (const [n, page] of pages.entries()) expect(await page.evaluate((name) => window.heard.made[name], `t${n}`)).toMatch(/^[0-9a-z]+$/);

  // Everything that sharing took is on the ledger, and let go of.
  const counts = (page) => page.evaluate(() => Object.fromEntries(Object.entries(window.__tautline.resources.counts()).filter(([, count]) => count > 0)));
  for (const page of pages) expect(await counts(page)).toMatchObject({ shared_socket: 1, ...(way === 'worker' ? { worker: 1 } : { channel: expect.any(Number) }) });
  for (const page of pages) await page.evaluate(() => window.__tautline.dispose());
  for (const page of pages) await expect.poll(() => counts(page)).toEqual({});
  await expect.poll(() => sessions(restaurant)).toBe(0);
  expect(await roles(pages)).toEqual(Array(TABS).fill('solo'));
});

test('tabs of another person, role, restaurant or filter have a connection of their own; a filter that is set moves its tab', async ({ context }) => {
  const restaurant = 'share-apart';
  const tab = async (options) => open(await context.newPage(), restaurant, options);
  const [one, two] = [await tab(), await tab()];
  expect(await sessions(restaurant)).toBe(1);
  const other = await tab({ claims: { sub: 'other' } });
  expect(await sessions(restaurant)).toBe(2);
  await tab({ claims: { role: 'kitchen' } });
  expect(await sessions(restaurant)).toBe(3);
  await tab({ filter: { events: ['order:*'], filters: { table_number: '7' } } });
  await expect.poll(() => sessions(restaurant)).toBe(4);
  await open(await context.newPage(), 'share-elsewhere');
  expect([await sessions(restaurant), await sessions('share-elsewhere')]).toEqual([4, 1]);
  expect(await role(other)).toBe('leader');

  await two.evaluate(() => window.__tautline.service.setFilter({ events: ['order:*'], filters: { table_number: '7' } }));
  expect(await roles([one, two])).toEqual(['follower', 'leader']);
  await relay.postOrder({ table_number: '7' }, { restaurant });
  await relay.postOrder({ table_number: '8' }, { restaurant });
  await current(one, restaurant);
  await expect.poll(() => two.evaluate(() => window.__tautline.orders.orders().map(({ table_number }) => table_number))).toEqual(['7']);
  expect(await sessions(restaurant)).toBe(4);
});

test('worker: the leader closes, and nobody else notices but the one that leads then', async ({ context }) => {
  const restaurant = 'share-unnoticed';
  let pages = [];
  for (let n = 0; n < 3; n += 1) pages.push(await open(await context.newPage(), restaurant));
  const leader = pages[(await Promise.all(pages.map(role))).indexOf('leader')];
  pages = pages.filter((page) => page !== leader);
  await leader.close();
  await expect.poll(() => roles(pages)).toEqual(LEADING(2));
  await relay.postOrder({}, { restaurant });
  for (const page of pages) {
    await current(page, restaurant);
    await once(page);
    expect(await page.evaluate(() => window.heard.closes)).toEqual([]);
  }
  expect(await sessions(restaurant)).toBe(1);
});

test('a worker that cannot be loaded: tabs share by locks', async ({ context }) => {
  const restaurant = 'share-no-worker';
  await context.route('**/share-worker.js', (route) => route.fulfill({ status: 404 }));
  const pages = [];
  for (let n = 0; n < 2; n += 1) pages.push(await open(await context.newPage(), restaurant));
  for (const page of pages) expect(await page.evaluate(() => window.__tautline.resources.counts())).toMatchObject({ worker: 0, shared_socket: 1 });
  expect([await sessions(restaurant), await roles(pages)]).toEqual([1, LEADING(2)]);
});

test('without what tabs find each other by, each has its own connection, and says so once', async ({ context }) => {
  const restaurant = 'share-none';
  await context.addInitScript(() => delete window.BroadcastChannel);
  const pages = [await context.newPage(), await context.newPage()];
  const said = [];
  pages[0].on('console', (message) => message.type() === 'warning' && said.push(message.text()));
  for (const page of pages) await open(page, restaurant);
  expect([await sessions(restaurant), await roles(pages)]).toEqual([2, ['solo', 'solo']]);
  expect(said).toHaveLength(1);
});

test('back navigation: the leader that is put away hands over, and comes back as one of the others', async ({ launchOptions }) => {
  const restaurant = 'share-back';
  const browser = await openBrowser({ launchOptions });
  try {
    const [one, two] = [await browser.newPage(), await browser.newPage()];
    await open(one, restaurant);
    await open(two, restaurant);
    expect([await role(one), await role(two)]).toEqual(['leader', 'follower']);
    await one.evaluate(() => window.addEventListener('pageshow', ({ persisted }) => (window.kept = persisted)));
    await one.goto(`${relay.url}/healthz`);
    await expect.poll(() => role(two)).toBe('leader');
    await relay.postOrder({}, { restaurant });
    await current(two, restaurant);
    await one.goBack({ waitUntil: 'commit' });
    await current(one, restaurant);
    expect(await one.evaluate(() => window.kept)).toBe(true);
    expect([await role(one), await role(two), await sessions(restaurant)]).toEqual(['follower', 'leader', 1]);
    await once(one);
    await once(two);
  } finally {
    await browser.close();
  }
});

/** What befalls the leader; answers what brings it back, if anything does. */
const TROUBLES = {
  async crash(page) {
    const session = await page.context().newCDPSession(page);
    void session.send('Page.crash').catch(() => {});
    await page.waitForEvent('crash');
  },
  close: (page) => page.close().then(() => {}),
  // With `freeze`, as a browser does it.
  freeze,
  // Without: its thread stands still in the middle of something.
  async halt(page) {
    const session = await page.context().newCDPSession(page);
    await session.send('Debugger.enable');
    const halted = new Promise((resolve) => session.once('Debugger.paused', resolve));
    await session.send('Debugger.pause');
    void page.evaluate(() => 1).catch(() => {});
    await halted;
    return async () => {
      await session.send('Debugger.resume');
      await session.send('Debugger.disable');
      await session.detach();
    };
  },
  async cut() {
    await relay.trouble('cut');
    return () => {};
  },
};

for (const [way, prepare] of Object.entries(WAYS)) test(`${way}: the leader dies or freezes ${ROUNDS} times: no event is lost or repeated, no order made twice`, async ({ context }) => {
  test.setTimeout(60_000 + ROUNDS * 8_000);
  const restaurant = `share-rounds-${way}`;
  await prepare(context);
  let pages = [];
  for (let n = 0; n < TABS; n += 1) pages.push(await open(await context.newPage(), restaurant));
  const took = {};
  const made = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    await expect.poll(() => roles(pages)).toEqual(LEADING(TABS));
    const all = await Promise.all(pages.map(role));
    const leader = pages[all.indexOf('leader')];
    const others = pages.filter((page) => page !== leader);
    const kind = Object.keys(TROUBLES)[round % Object.keys(TROUBLES).length];
    // Before, in the middle of it, and after.
    const create = async (name, page) => {
      made.push({ name, page });
      await page.evaluate(([given, body]) => window.create(given, body), [name, order(name)]);
    };
    await Promise.all(others.map((page, n) => create(`r${round}a${n}`, page)));
    const trouble = TROUBLES[kind](leader);
    await Promise.all(others.slice(0, 3).map((page, n) => create(`r${round}b${n}`, page)));
    const back = await trouble;
    const began = Date.now();
    const seq = await last(restaurant);
    const arrived = await Promise.all((kind === 'cut' ? pages : others).map((page) => reaches(page, seq)));
    (took[kind] ??= []).push(Math.max(...arrived) - began);
    if (back) {
      await back();
      await reaches(leader, seq);
    } else pages = [...others, await open(await context.newPage(), restaurant)];
    for (const page of pages) await reaches(page, await log(restaurant));
  }
  await expect.poll(() => roles(pages)).toEqual(LEADING(TABS));
  expect(await sessions(restaurant)).toBe(1);
  for (const page of pages) {
    await current(page, restaurant);
    await once(page);
  }
  // Of those who are dead nobody waits for an answer.
  const alive = made.filter(({ page }) => pages.includes(page));
  for (const { name, page } of alive) await expect.poll(() => page.evaluate((given) => window.heard.made[given], name)).toMatch(/^[0-9a-z]+$/);
  const tables = (await relay.orders({ restaurant })).map(({ table_number }) => table_number).filter((name) => name.startsWith('r'));
  expect(tables.length).toBe(new Set(tables).size);
  for (const { name } of alive) expect(tables).toContain(name);
  for (const [kind, times] of Object.entries(took)) {
    const sorted = [...times].sort((one, other) => one - other);
    console.log(`share by ${way}, leader's ${kind}: ${times.length} times, all tabs current after ${sorted[sorted.length >> 1]} ms (median), ${sorted.at(-1)} ms (worst)`);
  }
});
