// What is left behind, in the browser and at the relay: nothing.

import { readdirSync } from 'node:fs';
import { once } from 'node:events';
import { expect, test } from '@playwright/test';
import { WebSocket } from 'ws';
import { browserCounts, connectLab, LAB_ORIGIN, openLab, orderSet, record, startLab, startRelay } from './harness/index.mjs';

let relay;
let lab;
test.beforeAll(async () => {
  [relay, lab] = await Promise.all([startRelay({ args: LAB_ORIGIN }), startLab()]);
});
test.afterAll(async () => {
  await lab?.stop();
  await relay?.stop();
});

const url = () => `${relay.url}/ws`;
const ledger = (page) => page.evaluate(() => Object.fromEntries(Object.entries(window.tautline.resources.counts()).filter(([, count]) => count !== 0)));

test('rounds of create, connect, disconnect and dispose leave the browser as it was', async ({ page }) => {
  const restaurant = 'rounds';
  await relay.postOrder({}, { restaurant });
  await page.exposeFunction('getLabToken', () => relay.token({ restaurant }));
  await page.goto(`${lab.url}/`);
  await page.waitForFunction(() => window.tautline !== undefined);
  const rounds = (count) => page.evaluate(async ([address, restaurantId, times]) => {
    const { createTautline } = window.tautline;
    for (let n = 0; n < times; n += 1) {
      const { service, manager, orders, dispose } = await createTautline({ url: address, restaurantId, getToken: () => window.getLabToken() });
      for (const event of ['stateChange', 'connected', 'disconnected', 'error', 'latency']) service.on(event, () => {});
      service.subscribe('order:*', () => {});
      const filled = new Promise((resolve) => orders.onOrders((list) => list.length > 0 && resolve()));
      orders.onOrderUpdate(() => {});
      orders.initialize();
      const lease = await manager.acquire();
      await filled;
      const [{ id }] = orders.orders();
      await orders.fetchOrder(id);
      lease.release();
      if (n % 2) service.disconnect();
      dispose();
    }
  }, [url(), restaurant, count]);

  await rounds(2); // what the browser and the module make once
  await expect.poll(() => ledger(page)).toEqual({});
  const before = await browserCounts(page);
  await rounds(20);
  await expect.poll(() => ledger(page)).toEqual({});
  const after = await browserCounts(page);
  expect(after.listeners).toBe(before.listeners);
  expect(after.nodes).toBeLessThanOrEqual(before.nodes);
  await expect.poll(async () => (await relay.sessions({ restaurant })).length).toBe(0);
});

/** Ways to bring the module down: each leaves nothing live and one clear error. */
const TRAPS = {
  'a panic': () => {
    try {
      window.__glue.provokeTrap();
    } catch (error) {
      return error instanceof WebAssembly.RuntimeError ? 'internal' : error.code;
    }
    return 'survived';
  },
  // Its memory cannot grow any more, and something needs a lot.
  'memory that has run out': () => {
    const { service } = window.__tautline;
    const { memory } = window.__wasm;
    for (let step = 16_384; step >= 1; step = Math.floor(step / 2)) {
      try {
        for (;;) memory.grow(step);
      } catch {
        // That was the most of this step.
      }
    }
    const many = 'x'.repeat(60_000);
    for (let n = 0; n < 100_000; n += 1) {
      try {
        service.subscribe(`${many}${n}`, () => {});
        service.send('note', { many, n }, { id: `n-${n}` });
      } catch (error) {
        if (error.code === 'internal') return error.code;
      }
    }
    return 'survived';
  },
  // What it holds is nonsense, found out by whichever callback of the browser's runs first: a frame or a timer.
  'memory that was overwritten': () => {
    const { service } = window.__tautline;
    const trapped = new Promise((resolve) => service.on('error', ({ code }) => resolve(code)));
    new Uint8Array(window.__wasm.memory.buffer).fill(0xff);
    return Promise.race([trapped, new Promise((resolve) => setTimeout(resolve, 10_000, 'survived'))]);
  },
};

for (const [what, provoke] of Object.entries(TRAPS)) {
  test(`${what} leaves no socket, no timer, no listener, and later calls say so`, async ({ page }) => {
    const restaurant = 'trap';
    await page.addInitScript(() => {
      const sockets = [];
      const Original = window.WebSocket;
      window.WebSocket = class extends Original {
        constructor(...given) {
          super(...given);
          sockets.push(this);
        }
      };
      window.__sockets = sockets;
      const live = new Set();
      const { setTimeout: set, clearTimeout: clear } = window;
      window.setTimeout = (callback, ...rest) => {
        const id = set(() => {
          live.delete(id);
          callback();
        }, ...rest);
        live.add(id);
        return id;
      };
      window.clearTimeout = (id) => {
        live.delete(id);
        clear(id);
      };
      window.__timers = live;
    });
    await openLab(page, lab, { url: url(), restaurantId: restaurant, heartbeatInterval: 1_000, getToken: () => relay.token({ restaurant }) });
    expect(await connectLab(page)).toBe('connected');
    await page.evaluate(async () => {
      window.__glue = await import('/wasm/tautline.js');
      window.__wasm = await window.__glue.default();
    });
    await expect.poll(async () => (await relay.sessions({ restaurant })).length).toBe(1);

    expect(await page.evaluate(provoke)).toBe('internal');
    await expect.poll(() => page.evaluate(() => window.__sockets.filter(({ readyState }) => readyState < 3).length)).toBe(0);
    expect(await ledger(page)).toEqual({});
    await expect.poll(async () => (await relay.sessions({ restaurant })).length).toBe(0);
    const after = await page.evaluate(async () => {
      const { service, orders } = window.__tautline;
      const codeOf = async (call) => {
        try {
          await call();
          return 'worked';
        } catch ({ code }) {
          return code;
        }
      };
      return {
        state: service.getConnectionState(),
        calls: [await codeOf(() => service.connect()), await codeOf(() => service.send('x', {})), await codeOf(() => orders.createOrder({ type: 'x', items: [{}] })), await codeOf(() => window.tautline.createTautline({}))],
        disposed: await codeOf(() => window.__tautline.dispose()),
        timers: window.__timers.size,
        sockets: window.__sockets.length,
      };
    });
    expect(after).toMatchObject({ state: 'error', calls: ['internal', 'internal', 'internal', 'internal'], disposed: 'worked', sockets: 1 });
    await expect.poll(() => page.evaluate(() => window.__timers.size)).toBeLessThanOrEqual(1); // the poll's own
  });
}

test('a page that loses its connection again and again holds what it held', async ({ page }) => {
  const restaurant = 'cuts';
  await record(page);
  await openLab(page, lab, { url: url(), restaurantId: restaurant, reconnectInterval: 100, maxReconnectDelay: 100, getToken: () => relay.token({ restaurant }) });
  expect(await connectLab(page)).toBe('connected');
  const cut = async () => {
    const before = await page.evaluate(() => window.__seen.states.filter((state) => state === 'connected').length);
    await relay.trouble('cut');
    await expect.poll(() => page.evaluate(() => window.__seen.states.filter((state) => state === 'connected').length), { intervals: [20] }).toBe(before + 1);
  };
  await cut();
  await expect.poll(async () => (await ledger(page)).socket_closing ?? 0).toBe(0);
  const held = await ledger(page);
  const before = await browserCounts(page);
  for (let n = 0; n < 10; n += 1) await cut();
  await expect.poll(() => ledger(page)).toEqual(held);
  expect((await browserCounts(page)).listeners).toBe(before.listeners);
  const order = await relay.postOrder({}, { restaurant });
  await expect.poll(() => orderSet(page)).toEqual([`${order.id} new`]);
});

test('200 rounds of 50 sockets leave the relay as it was', async () => {
  test.setTimeout(120_000);
  const restaurant = 'sockets';
  const token = await relay.token({ restaurant });
  const address = `${relay.url.replace('http', 'ws')}/ws`;
  const held = () => ({ fds: readdirSync(`/proc/${relay.pid}/fd`).length, threads: readdirSync(`/proc/${relay.pid}/task`).length });

  /** One socket, authenticated and with its snapshot; then gone, one way or another. */
  async function round(n) {
    const socket = new WebSocket(address);
    const done = new Promise((resolve, reject) => {
      socket.on('error', reject);
      socket.on('message', (data) => {
        for (const frame of [JSON.parse(data)].flat()) {
          if (frame.type === 'connected') socket.send(JSON.stringify({ type: 'auth', token, protocol: 'tautline.v1', sync: true }));
          if (frame.type === 'sync_complete') resolve();
          if (frame.type === 'auth:failed') reject(new Error(frame.error));
        }
      });
    });
    await done;
    const closed = once(socket, 'close');
    if (n % 3 === 0) socket.terminate();
    else if (n % 3 === 1) socket.close(1000);
    else socket.close(); // no code at all
    await closed;
  }
  const rounds = async (count) => {
    for (let n = 0; n < count; n += 1) await Promise.all(Array.from({ length: 50 }, (_, index) => round(n + index)));
  };

  await relay.postOrder({}, { restaurant });
  await rounds(2);
  await expect.poll(async () => (await relay.sessions({ restaurant })).length).toBe(0);
  const before = held();
  await rounds(200);
  await expect.poll(async () => (await relay.sessions({ restaurant })).length).toBe(0);
  await expect.poll(() => held().fds).toBeLessThanOrEqual(before.fds); // this test's own HTTP connections come and go
  expect(held().threads).toBe(before.threads);
});
