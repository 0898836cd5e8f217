// `recording()`: what a real browser went through, for the native replay that `npm test` runs after this suite.

import { mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@playwright/test';
import { LAB_ORIGIN, connectLab, openLab, startLab, startProxy, startRelay } from './harness/index.mjs';

const folder = fileURLToPath(new URL('../../test-results/recordings', import.meta.url));

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

test('an evening is recorded without what was said', async ({ page }) => {
  const restaurant = 'recorded';
  const proxy = await startProxy(relay.port);
  const tokens = [];
  const post = (table) => relay.postOrder({ table_number: table, notes: 'secret-note' }, { restaurant });
  const first = await post('1');
  try {
    await openLab(page, lab, {
      url: `${proxy.url}/ws`,
      restaurantId: restaurant,
      reconnectInterval: 100,
      getToken: async () => {
        tokens.push(await relay.token({ restaurant, role: 'kitchen' }));
        return tokens.at(-1);
      },
    });
    expect(await connectLab(page)).toBe('connected');
    const shown = () => page.evaluate(() => window.__tautline.orders.orders().length);
    await expect.poll(shown).toBe(1);
    await page.evaluate((id) => window.__tautline.orders.updateOrderStatus(id, 'preparing', { optimistic: true }), first.id);
    const refused = await page.evaluate((id) => window.__tautline.orders.updateOrderStatus(id, 'new', { expectedStatus: 'ready' }).catch(({ nackCode }) => nackCode), first.id);
    expect(refused).toBe('conflict');
    for (let n = 0; n < 20; n += 1) await post('2');
    await expect.poll(shown).toBe(21);
    proxy.cut();
    await post('1');
    await expect.poll(shown).toBe(22);
    await page.evaluate(() => window.__tautline.service.setFilter({ filters: { table_number: '1' } }));
    await expect.poll(shown).toBe(2);
    await relay.restart();
    await post('1');
    await expect.poll(shown).toBe(3);
    await page.evaluate(() => window.__tautline.service.disconnect());

    const text = await page.evaluate(() => window.__tautline.service.recording().export());
    for (const secret of [...tokens, 'secret-note', first.id, restaurant, proxy.url]) expect(text.includes(secret)).toBe(false);
    const recording = JSON.parse(text);
    expect(recording.complete).toBe(true);
    const states = recording.entries.filter(([name]) => name === 'state').map(([, state]) => state);
    expect(states).toEqual(['connecting', 'connected', 'reconnecting', 'connected', 'reconnecting', 'connected', 'disconnected']);
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/browser.json`, text);
  } finally {
    await page.evaluate(() => window.__tautline?.dispose());
    await proxy.stop();
  }
});
