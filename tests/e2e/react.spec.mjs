// `tautline/react` in a real page, with React 18 and 19 in development: StrictMode mounts everything twice.

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from '@playwright/test';
import { startReact } from '../react/serve.mjs';
import { LAB_ORIGIN, startRelay, watchSockets } from './harness/index.mjs';

for (const version of ['18', '19']) {
  test.describe(`React ${version}`, () => {
    let relay;
    let server;
    let page;
    let complaints;
    let tolerated;
    let restaurants = 0;
    let restaurant;
    test.beforeAll(async () => {
      [relay, server] = await Promise.all([startRelay({ args: LAB_ORIGIN, www: null }), startReact(version)]);
    });
    test.afterAll(() => Promise.all([relay?.stop(), server?.stop()]));

    test.beforeEach(async ({ browser }) => {
      restaurant = `react-${version}-${(restaurants += 1)}`;
      page = await browser.newPage();
      complaints = [];
      tolerated = undefined;
      page.on('console', (message) => {
        if (['warning', 'error'].includes(message.type()) && !tolerated?.test(message.text())) complaints.push(message.text());
      });
      page.on('pageerror', (error) => complaints.push(error.message));
    });
    test.afterEach(async () => {
      await page.close();
      expect(complaints).toEqual([]);
    });

    /** Opens the page with these things asked for, connected. */
    async function open(asked = {}) {
      const token = await relay.token({ restaurant, role: 'kitchen' });
      const query = new URLSearchParams({ url: `${relay.url.replace('http', 'ws')}/ws`, restaurant, token, ...asked });
      await page.goto(`${server.url}?${query}`);
      if (!asked.kind && !asked.broken) await expect(page.locator('#state')).toHaveText('connected');
    }
    const seen = () => page.evaluate(() => window.seen);
    const sessions = () => relay.sessions({ restaurant });
    const tickets = () => page.locator('li[data-id]');

    test('a live list: one socket, every change once, nothing left when it is gone', async () => {
      const sockets = watchSockets(page);
      const before = await relay.postOrder({}, { restaurant });
      await open({ one: before.id });
      await expect(tickets()).toHaveCount(1);
      await expect(page.locator('#one')).toHaveText(before.status);
      const order = await relay.postOrder({}, { restaurant });
      await expect(tickets()).toHaveCount(2);
      for (const status of ['confirmed', 'preparing', 'ready']) await relay.api('PATCH', `/orders/${order.id}/status`, { status }, { restaurant });
      // A filter is compared by value: it is another object with every render.
      await expect(page.locator('#ready')).toHaveText(order.id);
      await relay.api('PATCH', `/orders/${order.id}/status`, { status: 'picked-up' }, { restaurant });
      await expect(page.locator('#ready')).toHaveText('');
      const { updates, renders, made, connects } = await seen();
      expect(updates).toEqual(['created', 'created', ...Array(4).fill('status_changed')]);
      expect(renders[before.id], 'rendered again without a change; StrictMode renders twice').toBe(2);
      expect([made, connects]).toEqual([1, 1]);
      expect(await sessions()).toHaveLength(1);
      expect(sockets).toHaveLength(1);
      await page.evaluate(() => window.unmount());
      await expect.poll(() => page.evaluate(() => window.held())).toEqual([]);
    });

    test('a server draws what there is before there is a connection', async () => {
      expect(await server.rendered()).toEqual(['<p>disconnected disconnected 0 undefined disconnected</p>', '<i>soon</i>']);
    });

    test('a thousand events in a frame are a thousand callbacks and one commit', async () => {
      await relay.postOrder({}, { restaurant });
      await page.clock.install();
      await open();
      await expect(tickets()).toHaveCount(1);
      await page.clock.pauseAt(Date.now() + 3_600_000);
      const before = await seen();
      for (let sent = 0; sent < 1_000; sent += 100) await Promise.all(Array.from({ length: 100 }, () => relay.postOrder({}, { restaurant })));
      await expect.poll(async () => (await seen()).updates.length, { timeout: 30_000 }).toBe(1_001);
      expect((await seen()).commits, 'before the frame').toBe(before.commits);
      await page.clock.runFor(40);
      await expect(tickets()).toHaveCount(1_001);
      const after = await seen();
      expect(after.commits).toBe(before.commits + 1);
      expect(new Set(Object.values(after.renders)), 'each ticket once, and once more by StrictMode').toEqual(new Set([2]));
      await page.clock.resume();
    });

    test('callbacks may change with every render', async () => {
      await open();
      const [{ session_id: before }] = await sessions();
      for (let render = 1; render <= 20; render += 1) {
        await page.evaluate(() => window.page.again());
        await expect(page.locator('h1')).toHaveText(`Kitchen ${render}`);
      }
      await relay.postOrder({}, { restaurant });
      await expect(tickets()).toHaveCount(1);
      expect((await seen()).said).toEqual(['render 20']);
      const after = await sessions();
      expect(after.map((session) => session.session_id)).toEqual([before]);
    });

    test('a hundred mounts: one socket, nothing left after the last', async () => {
      const sockets = watchSockets(page);
      await open({ kind: 'toggled' });
      for (let round = 0; round < 100; round += 1) {
        await page.evaluate(async (connects) => {
          window.show(false);
          while (document.querySelector('main')) await new Promise(requestAnimationFrame);
          window.show(true);
          // Some are gone at once, some when they are connected.
          while (connects && document.querySelector('#state')?.textContent !== 'connected') await new Promise(requestAnimationFrame);
        }, round % 2 === 0);
      }
      await expect(page.locator('#state')).toHaveText('connected');
      expect(sockets).toHaveLength(1);
      expect((await seen()).made).toBe(1);
      await page.evaluate(() => window.unmount());
      await expect.poll(() => page.evaluate(() => window.held())).toEqual([]);
    });

    test('providers that come and go, also in the middle of a connect', async () => {
      const sockets = watchSockets(page);
      await open();
      await page.evaluate(async () => {
        for (let round = 0; round < 30; round += 1) {
          window.unmount();
          window.mount();
          while (round % 3 === 0 && document.getElementById('state')?.textContent !== 'connected') await new Promise(requestAnimationFrame);
        }
      });
      await expect(page.locator('#state')).toHaveText('connected');
      await expect.poll(async () => (await sessions()).length).toBe(1);
      await page.evaluate(() => window.unmount());
      await expect.poll(() => page.evaluate(() => window.held())).toEqual([]);
      await expect.poll(async () => (await sessions()).length).toBe(0);
      await expect.poll(() => sockets.filter(({ open: still }) => still).length).toBe(0);
      // Chromium's own words for a connect that was given up.
      complaints = complaints.filter((said) => !said.includes('closed before the connection is established'));
    });

    test('a part that suspends keeps the connection of those beside it', async () => {
      await open({ kind: 'suspended' });
      await expect(page.locator('#waiting')).toHaveCount(1);
      await page.evaluate(() => window.wake());
      await expect(page.locator('#late')).toHaveCount(1);
      await expect(page.locator('#state')).toHaveText('connected');
      await relay.postOrder({}, { restaurant });
      await expect(tickets()).toHaveCount(1);
      expect(await sessions()).toHaveLength(1);
      expect((await seen()).made).toBe(1);
    });

    if (version === '19') {
      test('a provider that is hidden lets go, and begins anew when it is shown', async () => {
        await open();
        await relay.postOrder({}, { restaurant });
        await expect(tickets()).toHaveCount(1);
        await page.evaluate(() => window.setMode('hidden'));
        await expect.poll(() => page.evaluate(() => window.held())).toEqual([]);
        await expect.poll(async () => (await sessions()).length).toBe(0);
        await page.evaluate(() => window.setMode('visible'));
        await expect(page.locator('#state')).toHaveText('connected');
        await relay.postOrder({}, { restaurant });
        await expect(tickets()).toHaveCount(2);
        expect((await seen()).made).toBe(2);
      });
    }

    test('a client that could not be made is thrown to the boundary, and made when it mounts again', async () => {
      await open({ broken: '1', fallback: '' });
      await page.getByRole('button', { name: 'no client today' }).click();
      await expect(page.locator('#state')).toHaveText('connected');
      expect((await seen()).made).toBe(2);
      // React says in the console what a boundary caught.
      complaints = complaints.filter((said) => !/no client today|error occurred in the <|React will try to recreate/.test(said));
    });

    test('a file that was edited is taken, and the connection stays', async () => {
      await open();
      const [{ session_id: before }] = await sessions();
      await page.evaluate(() => (window.samePage = true));
      const file = join(server.folder, 'Heading.jsx');
      const source = await readFile(file, 'utf8');
      await writeFile(file, source.replace('Kitchen', 'Bar'));
      await expect(page.locator('h1')).toHaveText('Bar 0');
      await relay.postOrder({}, { restaurant });
      await expect(tickets()).toHaveCount(1);
      expect(await page.evaluate(() => window.samePage)).toBe(true);
      expect((await sessions()).map((session) => session.session_id)).toEqual([before]);
      await writeFile(file, source);
      await expect(page.locator('h1')).toHaveText('Kitchen 0');
    });

    test('a call of its own is hung up when the component is gone', async () => {
      // What the browser says of a refused request may come after the answer.
      tolerated = /^Failed to load resource/;
      await open({ kind: 'call' });
      await expect(page.locator('#call')).toHaveText('disconnected');
      // Vite's server is no relay: it says so, and the hook stays usable.
      const code = await page.evaluate(() => window.call.connect().then(() => 'connected', (error) => error.code));
      expect(code).not.toBe('connected');
      await page.evaluate(() => window.unmount());
      await expect.poll(() => page.evaluate(() => window.held())).toEqual([]);
    });
  });
}
