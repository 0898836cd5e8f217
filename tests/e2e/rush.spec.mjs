// The relay killed with -9 and restarted under a rush of 200 orders a second while three pages watch.

import { expect, test } from '@playwright/test';
import { faults, NO_FAULTS, openDisplay, orderSet, record, relaySet, seen, startRelay } from './harness/index.mjs';

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

test('kill -9 in a rush loses nothing that was answered and repeats nothing on any page', async ({ page, context }) => {
  test.setTimeout(120_000);
  const relay = await startRelay();
  try {
    await record(context);
    const pages = [page, await context.newPage(), await context.newPage()];
    for (const one of pages) await openDisplay(one, relay.url);
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
    await relay.stop();
  }
});
