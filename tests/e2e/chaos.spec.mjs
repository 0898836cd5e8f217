// Everything at once, as an evening may bring it: what the other files do one by one, at random, while orders come in
// by HTTP and from the pages themselves. `TAUTLINE_SEED` makes another choice of troubles.

import { expect, test } from '@playwright/test';
import { chance } from './harness/lab/chance.js';
import {
  connectLab, faults, LAB_ORIGIN, NO_FAULTS, openLab, orderSet, record, relaySet, seen, startLab, startProxy, startRelay,
} from './harness/index.mjs';

const SECONDS = 8;

test('any mixture of troubles ends with every screen equal to the relay, and every order once', async ({ browser }) => {
  test.setTimeout(120_000);
  const seed = Number(process.env.TAUTLINE_SEED ?? 1);
  console.log(`TAUTLINE_SEED=${seed}`);
  const next = chance(seed);
  const pick = (list) => list[Math.floor(next() * list.length)];
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

  const relay = await startRelay({ args: [...LAB_ORIGIN, '--heartbeat', '1s'] });
  const [proxy, lab] = [await startProxy(relay.url), await startLab()];
  const contexts = [];
  try {
    const pages = [];
    for (let n = 0; n < 3; n += 1) {
      contexts.push(await browser.newContext());
      const page = await contexts[n].newPage();
      await record(page);
      await openLab(page, lab, {
        // Two on a bad network, one beside the relay.
        url: `${n < 2 ? proxy.url : relay.url}/ws`, restaurantId: 'demo', heartbeatInterval: 1_000, pongTimeoutMs: 1_000, reconnectInterval: 100,
        maxReconnectDelay: 1_000, connectTimeout: 3_000, getToken: () => relay.token({ sub: `screen-${n}` }),
      });
      expect(await connectLab(page)).toBe('connected');
      pages.push(page);
    }

    const troubles = {
      cut: async () => proxy.cut(),
      silence: async () => {
        proxy.silence();
        await pause(300 + next() * 2_000);
        await proxy.resume();
      },
      forget: async () => proxy.forget(),
      refuse: async () => {
        await proxy.refuse();
        await pause(300 + next() * 700);
        await proxy.resume();
      },
      offline: async () => {
        const context = pick(contexts);
        await context.setOffline(true);
        await pause(200 + next() * 800);
        await context.setOffline(false);
      },
      kill: async () => {
        await relay.kill9();
        await relay.restart();
      },
      drain: async () => relay.restart(),
      expire: async () => relay.trouble('expire'),
      'cut at the relay': async () => relay.trouble('cut'),
    };

    let over = false;
    const posted = [];
    const post = async (number) => {
      for (;;) {
        try {
          posted.push((await relay.postOrder({ order_number: number }, { key: number })).id);
          return;
        } catch (error) {
          if (error.message.includes('answered 4')) throw error;
          await pause(50); // the relay is down: again, under the same key
        }
      }
    };
    const posting = (async () => {
      const all = [];
      for (let n = 0; !over; n += 1) {
        all.push(post(`http-${n}`));
        await pause(50);
      }
      await Promise.all(all);
      return all.length;
    })();
    const ordering = pages.map((page, index) =>
      page.evaluate(async (name) => {
        const { service } = window.__tautline;
        const all = [];
        const failed = [];
        for (window.__ordering = true; window.__ordering; await new Promise((resolve) => setTimeout(resolve, 150))) {
          const order = { type: 'takeout', order_number: `${name}-${all.length}`, items: [{ menu_item_id: 'm', name: 'M', quantity: 1, price: 1 }] };
          all.push(service.send('order:create', { order }).done.catch(({ code, nackCode }) => failed.push([order.order_number, code, nackCode])));
        }
        await Promise.all(all);
        return { count: all.length, failed };
      }, `page${index}`));

    const happened = [];
    for (const end = Date.now() + SECONDS * 1_000; Date.now() < end; await pause(next() * 600)) {
      const kind = pick(Object.keys(troubles));
      happened.push(kind);
      await troubles[kind]();
    }
    console.log(happened.join(', '));
    over = true;
    for (const page of pages) await page.evaluate(() => (window.__ordering = false));

    const byHttp = await posting;
    const byPages = await Promise.all(ordering);
    expect(byPages.flatMap(({ failed }) => failed)).toEqual([]);
    const stored = await relay.orders();
    const ids = new Set(stored.map(({ id }) => id));
    expect(posted.filter((id) => !ids.has(id))).toEqual([]);
    const wanted = [`http-${byHttp}`, ...byPages.map(({ count }, index) => `page${index}-${count}`)].flatMap((last) => {
      const [name, count] = [last.slice(0, last.lastIndexOf('-')), Number(last.slice(last.lastIndexOf('-') + 1))];
      return Array.from({ length: count }, (_, n) => `${name}-${n}`);
    });
    expect(stored.map(({ order_number }) => order_number).sort()).toEqual(wanted.sort());

    const lines = await relaySet(relay);
    for (const page of pages) {
      await expect.poll(() => orderSet(page), { timeout: 15_000 }).toEqual(lines);
      const told = await seen(page);
      expect(faults(told)).toEqual(NO_FAULTS);
      expect(told.updates.filter(({ action }) => action === 'created')).toHaveLength(lines.length);
      expect(await page.evaluate(() => window.__tautline.service.outbox())).toEqual([]);
      const { socket, socket_closing: closing = 0 } = await page.evaluate(() => window.__tautline.resources.counts());
      expect({ socket, closing: closing <= 1 }).toEqual({ socket: 1, closing: true });
    }
  } finally {
    for (const context of contexts) await context.close();
    await lab.stop();
    await proxy.stop();
    await relay.stop();
  }
});
