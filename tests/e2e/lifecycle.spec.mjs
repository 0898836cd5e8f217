// Tabs as people treat them: back navigation, frozen in the background, hidden, closed.

import { expect, test } from '@playwright/test';
import {
  brought, faults, freeze, NO_FAULTS, openBrowser, openDisplay, orderSet, record, relaySet, seen, startProxy, startRelay, ticket, watchSockets,
} from './harness/index.mjs';

const MINUTE_MS = 60_000;
/** 3 s for the probe, and one connect. */
const CURRENT_MS = 3_000 + 1_500;

let relay;
let browser;
test.beforeAll(async () => {
  relay = await startRelay();
});
test.afterAll(() => relay?.stop());
test.beforeEach(async ({ launchOptions }) => {
  browser = await openBrowser({ launchOptions });
  await record(browser.context);
});
test.afterEach(() => browser?.close());

const sessions = async (restaurant) => (await relay.sessions({ restaurant })).length;

/** From within the page, because the one that comes back is not reported to the outside in time. */
const countFrames = (page) => page.addInitScript(() => {
  const Original = window.WebSocket;
  window.WebSocket = class extends Original {
    constructor(...given) {
      super(...given);
      window.__last = { received: [] };
      const { received } = window.__last;
      this.addEventListener('message', ({ data }) => received.push(...[JSON.parse(data)].flat()));
    }
  };
});
const lastSocket = (page) => page.evaluate(() => window.__last);

async function untilCurrent(page, restaurant) {
  const began = Date.now();
  const stored = await relaySet(relay, restaurant);
  await expect.poll(() => orderSet(page), { intervals: [25], timeout: 20_000 }).toEqual(stored);
  return Date.now() - began;
}

test('back navigation finds the page as it was, resumed', async () => {
  const restaurant = 'back';
  const page = await browser.newPage();
  await countFrames(page);
  const first = await relay.postOrder({}, { restaurant });
  await openDisplay(page, relay.url, { restaurant });
  await expect(ticket(page, first.id)).toHaveCount(1);
  await page.evaluate(() => (window.__sameDocument = true));

  for (let round = 1; round <= 2; round += 1) {
    await page.goto(`${relay.url}/healthz`);
    await expect.poll(() => sessions(restaurant)).toBe(0);
    await relay.postOrder({}, { restaurant });
    await relay.postOrder({}, { restaurant });
    await page.goBack({ waitUntil: 'commit' }); // a page from the cache does not load again
    expect(await untilCurrent(page, restaurant)).toBeLessThan(CURRENT_MS);

    expect(await page.evaluate(() => window.__sameDocument)).toBe(true);
    const told = await seen(page);
    expect(told.lifecycle.filter((entry) => entry === 'pagehide true')).toHaveLength(round);
    expect(told.lifecycle.filter((entry) => entry === 'pageshow true')).toHaveLength(round);
    expect(told.closes).toEqual(Array(round).fill(4103));
    expect(faults(told)).toEqual(NO_FAULTS);
    expect(told.resumes).toHaveLength(round);
    const { events, snapshots, welcome } = brought(await lastSocket(page));
    expect([welcome.resumed, events.length, snapshots.length]).toEqual([true, 2, 0]);
    await expect(ticket(page)).toHaveCount(1 + 2 * round);
    expect(await sessions(restaurant)).toBe(1);
  }
});

test('frozen or black-holed for a minute, a page is current within 3 s and one connect of waking', async () => {
  test.setTimeout(MINUTE_MS + 60_000);
  const proxy = await startProxy(relay.url);
  try {
    // One tab on a network that forgets, one in the background, frozen: the same minute does for both.
    const restaurant = 'minute';
    const holed = await browser.newPage();
    await openDisplay(holed, proxy.url, { restaurant });
    const frozen = await browser.newPage();
    const sockets = watchSockets(frozen);
    await openDisplay(frozen, relay.url, { restaurant });
    await relay.postOrder({}, { restaurant });
    for (const page of [frozen, holed]) await expect.poll(() => orderSet(page)).toHaveLength(1); // a hidden tab draws nothing

    const began = Date.now();
    proxy.silence();
    await holed.bringToFront();
    const thaw = await freeze(frozen);
    for (let n = 0; n < 5; n += 1) await relay.postOrder({}, { restaurant });
    // An operator sees both within a heartbeat of 15 s and its grace, though the frozen page's browser answers pings.
    await expect.poll(async () => (await relay.sessions({ restaurant })).map(({ stalled }) => stalled), { timeout: 20_000 }).toEqual([true, true]);
    await new Promise((resolve) => setTimeout(resolve, MINUTE_MS - (Date.now() - began)));
    await relay.postOrder({}, { restaurant });

    await thaw();
    await frozen.bringToFront();
    expect(await untilCurrent(frozen, restaurant)).toBeLessThan(CURRENT_MS);
    expect((await seen(frozen)).lifecycle).toEqual(expect.arrayContaining(['freeze', 'resume']));
    expect(faults(await seen(frozen))).toEqual(NO_FAULTS);
    // Whatever the browser did to the socket meanwhile, no snapshot was needed.
    expect(sockets.slice(1).flatMap((socket) => brought(socket).snapshots)).toEqual([]);
    await expect(ticket(frozen)).toHaveCount(7);

    expect(await orderSet(holed)).toHaveLength(1);
    await proxy.resume();
    await holed.bringToFront(); // it was behind the other tab: becoming visible is the sign of waking
    expect(await untilCurrent(holed, restaurant)).toBeLessThan(CURRENT_MS);
    expect(faults(await seen(holed))).toEqual(NO_FAULTS);
    await expect(ticket(holed)).toHaveCount(7);
  } finally {
    await proxy.stop();
  }
});

test('frozen for a few seconds with a socket that dies meanwhile', async () => {
  const restaurant = 'frozen';
  const proxy = await startProxy(relay.url);
  try {
    const page = await browser.newPage();
    await openDisplay(page, proxy.url, { restaurant });
    await browser.hide();
    const thaw = await freeze(page);
    proxy.forget();
    await relay.postOrder({}, { restaurant });
    await relay.postOrder({}, { restaurant });
    await expect.poll(() => relaySet(relay, restaurant)).toHaveLength(2);
    await thaw();
    expect(await untilCurrent(page, restaurant)).toBeLessThan(CURRENT_MS);
    expect(faults(await seen(page))).toEqual(NO_FAULTS);
  } finally {
    await proxy.stop();
  }
});

test('a hidden page keeps its socket and is current; becoming visible it asks at once', async () => {
  const restaurant = 'hidden';
  const page = await browser.newPage();
  const sockets = watchSockets(page);
  await openDisplay(page, relay.url, { restaurant });
  await browser.hide();
  await expect.poll(async () => (await seen(page)).lifecycle).toContain('hidden');
  const order = await relay.postOrder({}, { restaurant });
  await expect.poll(() => orderSet(page)).toEqual([`${order.id} new`]);

  const pings = () => sockets[0].sent.filter(({ type }) => type === 'ping').length;
  const before = pings();
  await page.bringToFront();
  await expect.poll(async () => (await seen(page)).lifecycle.at(-1)).toBe('visible');
  await expect.poll(pings, { timeout: 1_000 }).toBeGreaterThan(before);
  await expect(ticket(page, order.id)).toHaveCount(1);
  expect(sockets).toHaveLength(1);
  expect((await seen(page)).closes).toEqual([]);
});

test('a closed tab leaves the relay no session', async () => {
  const restaurant = 'closed';
  const page = await browser.newPage();
  await openDisplay(page, relay.url, { restaurant });
  await openDisplay(await browser.newPage(), relay.url, { restaurant });
  await expect.poll(() => sessions(restaurant)).toBe(2);
  await page.close();
  await expect.poll(() => sessions(restaurant)).toBe(1);
  const [session] = await relay.sessions({ restaurant });
  expect(session).toMatchObject({ kind: 'orders', lag: 0 });
});

test('a page reloaded again and again is one session in the end', async () => {
  const restaurant = 'reloaded';
  const page = await browser.newPage();
  for (let n = 0; n < 10; n += 1) await page.goto(`${relay.url}/?restaurant_id=${restaurant}`, { waitUntil: 'commit' });
  await openDisplay(page, relay.url, { restaurant });
  await expect.poll(() => sessions(restaurant)).toBe(1);
});
