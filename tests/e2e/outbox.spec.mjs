// The outbox that outlives the tab (`outboxStorage: 'indexeddb'`): pages and relays that are killed in the middle of what they do.

import { expect, test } from '@playwright/test';
import { LAB_ORIGIN, openBrowser, startLab, startRelay } from './harness/index.mjs';

/** `TAUTLINE_ROUNDS=500` for a long run. */
const ROUNDS = Number(process.env.TAUTLINE_ROUNDS ?? 20);
const SUB = 'till-1';

let relay;
let lab;
test.beforeEach(async () => {
  relay = await startRelay({ args: LAB_ORIGIN });
  lab = await startLab();
});
test.afterEach(async () => {
  await lab?.stop();
  await relay?.stop();
});

const draw = (most) => Math.floor(Math.random() * most);

/** A page with a client that stores its outbox, not yet connected; what it says of itself is in `window.__told`. */
async function open(context, { role, restaurant = 'demo', ...options } = {}) {
  const page = await context.newPage();
  const token = await relay.token({ role, restaurant, sub: SUB });
  await page.goto(lab.url);
  await page.waitForFunction(() => window.tautline !== undefined);
  const given = { url: `${relay.url.replace('http', 'ws')}/ws`, restaurantId: restaurant, reconnectInterval: 50, maxReconnectDelay: 300, outboxStorage: 'indexeddb', ...options };
  await page.evaluate(
    async ([settings, jwt]) => {
      const made = await window.tautline.createTautline({ ...settings, getToken: () => jwt });
      window.__tautline = made;
      window.__told = { errors: [], made: [], adopted: [], created: [] };
      made.service.subscribe('order:created', ({ order }) => window.__told.created.push(order.order_number));
      made.service.on('error', ({ code, outcome }) => window.__told.errors.push([code, outcome]));
      made.service.onOutbox((entries) => {
        for (const { id, adopted } of entries) if (adopted && !window.__told.adopted.includes(id)) window.__told.adopted.push(id);
      });
    },
    [given, token],
  );
  return page;
}

const connect = (page) => page.evaluate(() => window.__tautline.service.connect());
const told = (page) => page.evaluate(() => window.__told);
const outbox = (page) => page.evaluate(() => window.__tautline.service.outbox());

/** Sends orders of these numbers; nobody waits for them. */
const create = (page, numbers) => page.evaluate((all) => {
  for (const number of all) {
    const order = { type: 'takeout', order_number: number, items: [{ menu_item_id: 'm', name: 'M', quantity: 1, price: 1 }] };
    window.__tautline.orders.createOrder(order).then(({ order_number }) => {
      window.__told.made.push(order_number);
      window.madeOrder?.(order_number);
    }, () => {});
  }
}, numbers);

/** What is on the disk, of all pages of this origin. */
const stored = (page) => page.evaluate(() => new Promise((resolve, reject) => {
  const request = indexedDB.open('tautline', 1);
  request.onupgradeneeded = () => request.transaction.abort();
  request.onerror = () => resolve([]);
  request.onsuccess = () => {
    const all = request.result.transaction('outbox').objectStore('outbox').getAll();
    all.onerror = () => reject(all.error);
    all.onsuccess = () => {
      request.result.close();
      resolve(all.result);
    };
  };
}));

/** Kills the page's process; what it was about to do is not done. */
async function crash(page) {
  const crashed = page.waitForEvent('crash');
  const session = await page.context().newCDPSession(page);
  session.send('Page.crash').catch(() => {});
  await crashed;
  await page.close();
}

const numbers = async (restaurant) => (await relay.orders({ restaurant })).map(({ order_number }) => order_number);

test(`pages and relays killed at random points of createOrder: exactly one order, ${ROUNDS} rounds`, async ({ context }) => {
  test.setTimeout(60_000 + ROUNDS * 15_000);
  const resolved = new Set();
  await context.exposeFunction('madeOrder', (number) => void resolved.add(number));
  let kept = 0;
  let inherited = 0;
  for (let round = 0; round < ROUNDS; round += 1) {
    const page = await open(context);
    const connected = draw(4) > 0;
    if (connected) await connect(page);
    const wanted = Array.from({ length: 1 + draw(3) }, (_, n) => `r${round}-${n}`);
    await create(page, wanted);
    if (!connected) void page.evaluate(() => void window.__tautline.service.connect().catch(() => {})).catch(() => {});
    const killsRelay = draw(2) === 0;
    const killsPage = !killsRelay || draw(3) > 0;
    await new Promise((resolve) => setTimeout(resolve, draw(3) === 0 ? 0 : draw(60)));
    await Promise.all([killsRelay && relay.kill9(), killsPage && crash(page)]);
    if (killsRelay) await relay.restart();

    const next = killsPage ? await open(context) : page;
    const rows = killsPage ? await stored(next) : [];
    const left = rows.map(({ payload }) => JSON.parse(payload).order.order_number);
    if (killsPage) await connect(next);
    await expect.poll(() => outbox(next), { timeout: 20_000 }).toEqual([]);
    await expect.poll(() => stored(next), { timeout: 20_000 }).toEqual([]);
    kept += left.length;
    inherited += (await told(next)).adopted.length;

    const made = (await numbers()).filter((number) => number.startsWith(`r${round}-`)).sort();
    expect(new Set(made).size, `round ${round}: ${made}`).toBe(made.length);
    // What was written down, what was answered, and all of a page that lives is there.
    const sure = wanted.filter((number) => !killsPage || left.includes(number) || resolved.has(number));
    expect(made, `round ${round}: ${JSON.stringify({ wanted, left, connected, killsRelay, killsPage })}`).toEqual(expect.arrayContaining(sure));
    expect((await told(next)).errors.filter(([code]) => code !== 'connect_failed')).toEqual([]);
    await next.close();
  }
  console.log(`${ROUNDS} rounds: ${kept} orders left by pages that were killed, ${inherited} taken over`);
  expect(kept).toBeGreaterThan(0);
  expect(inherited).toBe(kept);
});

test('what is older than its time is reported after a crash, and never sent', async ({ context }) => {
  const page = await open(context);
  await page.evaluate(() => {
    const order = { type: 'takeout', order_number: 'late', items: [{ menu_item_id: 'm', name: 'M', quantity: 1, price: 1 }] };
    window.__tautline.service.send('order:create', { order }, { id: 'late', ttlMs: 1 });
  });
  await expect.poll(() => stored(page)).toHaveLength(1);
  await crash(page);
  const next = await open(context);
  await connect(next);
  await expect.poll(() => outbox(next)).toMatchObject([{ id: 'late', type: 'order:create', status: 'failed', reason: { code: 'outbox_expired', outcome: 'not_sent' } }]);
  expect((await told(next)).errors).toEqual([['outbox_expired', 'not_sent']]);
  expect(await numbers()).toEqual([]);
  // It is asked for once more, and that is another matter.
  await next.evaluate(() => window.__tautline.service.retry('late').done);
  expect(await numbers()).toEqual(['late']);
  await expect.poll(() => stored(next)).toEqual([]);
});

test('a command that is refused for good is seen after a reload, and can be tried again', async ({ context }) => {
  const page = await open(context, { role: 'kitchen' });
  await connect(page);
  const refused = await page.evaluate(() => {
    const order = { type: 'takeout', order_number: 'poison', items: [{ menu_item_id: 'm', name: 'M', quantity: 1, price: 1 }] };
    return window.__tautline.service.send('order:create', { order }, { id: 'poison' }).done.catch(({ code, nackCode }) => [code, nackCode]);
  });
  expect(refused).toEqual(['nack', 'forbidden']);
  const aside = [{ id: 'poison', status: 'failed', reason: { code: 'nack', nackCode: 'forbidden', outcome: 'not_applied' } }];
  await expect.poll(() => outbox(page)).toMatchObject(aside);
  await page.close();

  const next = await open(context, { role: 'manager' });
  expect(await outbox(next)).toEqual([]); // nobody has signed in yet
  await connect(next);
  await expect.poll(() => outbox(next)).toMatchObject(aside);
  expect((await told(next)).errors).toEqual([]);
  await next.evaluate(() => window.__tautline.service.retry('poison').done);
  expect(await numbers()).toEqual(['poison']);
  expect(await outbox(next)).toEqual([]);
  await expect.poll(() => stored(next)).toEqual([]);
  expect(await next.evaluate(() => window.__tautline.service.discard('poison'))).toBe(false);
});

test('of two tabs one dies and the other sends what it left, in its order; another user gets nothing', async ({ context }) => {
  const [heir, dying] = [await open(context), await open(context)];
  await connect(heir);
  const stranger = await open(context, { restaurant: 'vine' });
  await connect(stranger);
  await create(dying, ['a', 'b', 'c']);
  await expect.poll(() => stored(dying)).toHaveLength(3);
  expect(await numbers()).toEqual([]);
  await crash(dying);
  await expect.poll(async () => (await told(heir)).created).toEqual(['a', 'b', 'c']);
  expect((await numbers()).sort()).toEqual(['a', 'b', 'c']);
  expect((await told(heir)).adopted).toHaveLength(3);
  expect((await told(stranger)).adopted).toEqual([]);
  await expect.poll(() => stored(heir)).toEqual([]);
});

test('in the back/forward cache a page lets go of what waits, and comes back to it', async ({ launchOptions }) => {
  const browser = await openBrowser({ launchOptions });
  try {
    const page = await open(browser.context);
    await page.evaluate(() => {
      window.__sameDocument = true;
      window.__life = [];
      addEventListener('pageshow', ({ persisted }) => window.__life.push(persisted));
    });
    await create(page, ['kept']);
    await expect.poll(() => stored(page)).toHaveLength(1);
    await page.goto(`${relay.url}/healthz`);
    const other = await open(browser.context);
    await connect(other);
    await expect.poll(() => numbers()).toEqual(['kept']);
    await page.goBack({ waitUntil: 'commit' });
    await expect.poll(() => page.evaluate(() => [window.__sameDocument, window.__life])).toEqual([true, [true]]);
    // Its promise is answered, by the relay's memory.
    await connect(page);
    await expect.poll(async () => (await told(page)).made).toEqual(['kept']);
    expect(await numbers()).toEqual(['kept']);
    await expect.poll(() => stored(page)).toEqual([]);
    expect((await told(page)).errors).toEqual([]);
  } finally {
    await browser.close();
  }
});
