// The relay killed with -9 and restarted: under a rush of 200 orders a second while three pages watch, and in the middle
// of what a page sends after an hour offline.

import { expect, test } from '@playwright/test';
import {
  connectLab, faults, LAB_ORIGIN, NO_FAULTS, openDisplay, openLab, orderSet, record, relaySet, seen, startLab, startProxy, startRelay,
} from './harness/index.mjs';

const RATE = 200;
const SECONDS = 6;
const KILLS_AT_MS = [1_500, 3_800];

/** Posts one order until it is answered 201, always under the same key: what a till does. */
async function insist(relay, token, index, answered) {
  const body = JSON.stringify({ type: 'dine-in', table_number: String(index), items: [{ menu_item_id: 'burger', name: 'Burger', quantity: 1, price: 9.5 }] });
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': `rush-${index}` };
  for (const deadline = Date.now() + 30_000; Date.now() < deadline; ) {
    try {
      const response = await fetch(`${relay.url}/api/v1/restaurants/demo/orders`, { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) });
      const text = await response.text();
      if (response.status === 201) {
        answered.push(JSON.parse(text).id);
        return;
      }
      if (response.status < 500) throw new Error(`POST orders answered ${response.status}: ${text}`);
    } catch (error) {
      if (error.message.startsWith('POST')) throw error;
      // Refused or reset: the relay is down. It may or may not have stored the order.
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`order ${index} was never answered`);
}

test('kill -9 in a rush loses nothing that was answered and repeats nothing on any page', async ({ browser }) => {
  test.setTimeout(120_000);
  const relay = await startRelay();
  const contexts = [];
  try {
    const pages = [];
    for (let n = 0; n < 3; n += 1) {
      contexts.push(await browser.newContext()); // a window each: a tab behind another would hardly draw
      pages.push(await contexts[n].newPage());
      await record(pages[n]);
      await openDisplay(pages[n], relay.url);
    }
    const token = await relay.token({ role: 'service' });

    const answered = [];
    const posts = [];
    const moves = [];
    const began = Date.now();
    let kills = 0;
    let restarting = Promise.resolve();
    for (let index = 0; index < RATE * SECONDS; index += 1) {
      const ahead = began + (index * 1_000) / RATE - Date.now();
      if (ahead > 0) await new Promise((resolve) => setTimeout(resolve, ahead));
      posts.push(insist(relay, token, index, answered));
      if (kills < KILLS_AT_MS.length && Date.now() - began >= KILLS_AT_MS[kills]) {
        kills += 1;
        await restarting;
        expect(await relay.kill9()).toBe('SIGKILL');
        restarting = relay.restart();
        restarting.catch(() => {}); // reported below
      }
      // Some are bumped meanwhile; whether this arrives is up to the kills.
      if (index % 7 === 6 && answered.length > 0) {
        const id = answered[Math.floor(Math.random() * answered.length)];
        moves.push(relay.api('PATCH', `/orders/${id}/status`, { status: 'confirmed' }, { role: 'service' }).catch(() => {}));
      }
    }
    const rate = (RATE * SECONDS * 1_000) / (Date.now() - began);
    expect(rate).toBeGreaterThan(RATE / 2); // a rush it was, whatever else the machine did
    await restarting;
    await Promise.all(posts);
    await Promise.all(moves);
    expect(kills).toBe(KILLS_AT_MS.length);

    const stored = await relaySet(relay);
    const ids = new Set(stored.map((line) => line.split(' ')[0]));
    expect(answered.filter((id) => !ids.has(id))).toEqual([]);
    expect(stored).toHaveLength(RATE * SECONDS); // each key once, however often it was sent

    for (const one of pages) {
      await expect.poll(() => orderSet(one), { timeout: 30_000 }).toEqual(stored);
      const told = await seen(one);
      expect(faults(told)).toEqual(NO_FAULTS);
      expect(told.updates.filter(({ action }) => action === 'created')).toHaveLength(stored.length);
      // Both times the page came back where it was: nothing was found by a snapshot.
      expect(told.updates.filter(({ source, initial }) => source === 'snapshot' && !initial)).toEqual([]);
      expect(told.resumes.length).toBeGreaterThanOrEqual(1);
      expect(told.errors).toEqual([]);
    }
  } finally {
    for (const context of contexts) await context.close();
    await relay.stop();
  }
});

test('an outbox of a thousand flushes without one refusal and each once, whatever happens to the relay', async ({ page }) => {
  const relay = await startRelay({ args: [...LAB_ORIGIN, '--rate-limit', '400/s,burst=200'] });
  const proxy = await startProxy(relay.url);
  const lab = await startLab();
  try {
    await record(page);
    await openLab(page, lab, { url: `${proxy.url}/ws`, restaurantId: 'demo', reconnectInterval: 100, getToken: () => relay.token() });
    expect(await connectLab(page)).toBe('connected');
    await proxy.refuse();
    await expect.poll(async () => (await seen(page)).states.at(-1)).not.toBe('connected');
    await page.evaluate(() => {
      const { service } = window.__tautline;
      window.__sent = { done: 0, failed: [] };
      for (let n = 0; n < 1_000; n += 1) {
        const order = { type: 'takeout', order_number: String(n), items: [{ menu_item_id: 'm', name: 'M', quantity: 1, price: 1 }] };
        service.send('order:create', { order }).done.then(() => (window.__sent.done += 1), ({ code, nackCode }) => window.__sent.failed.push([code, nackCode]));
      }
    });
    expect(await page.evaluate(() => window.__tautline.service.outbox().length)).toBe(1_000);
    await proxy.resume();

    const done = () => page.evaluate(() => window.__sent.done);
    await expect.poll(done, { intervals: [10], timeout: 15_000 }).toBeGreaterThan(100);
    await relay.kill9();
    await relay.restart();
    await expect.poll(done, { timeout: 30_000 }).toBe(1_000);
    expect(await page.evaluate(() => window.__sent.failed)).toEqual([]);
    const numbers = (await relay.orders()).map(({ order_number }) => Number(order_number)).sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
    await expect.poll(() => orderSet(page)).toEqual(await relaySet(relay));
    const told = await seen(page);
    expect(faults(told)).toEqual(NO_FAULTS);
    // In the order they were sent in, too.
    const positions = new Map((await page.evaluate(() => window.__tautline.orders.orders().map(({ id, order_number }) => [id, Number(order_number)]))));
    expect(told.updates.filter(({ action }) => action === 'created').map(({ orderId }) => positions.get(orderId))).toEqual(numbers);
  } finally {
    await lab.stop();
    await proxy.stop();
    await relay.stop();
  }
});
