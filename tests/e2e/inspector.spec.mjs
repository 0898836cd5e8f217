// `<tautline-inspector>` over a real connection: it shows what happens, and leaves nothing when it goes.

import { readFile } from 'node:fs/promises';
import { expect, test } from '@playwright/test';
import { connectLab, LAB_ORIGIN, openLab, startLab, startProxy, startRelay } from './harness/index.mjs';

let lab;
let relay;
let proxy;
test.beforeAll(async () => {
  [lab, relay] = await Promise.all([startLab(), startRelay({ args: LAB_ORIGIN, www: null })]);
  proxy = await startProxy(relay.url);
});
test.afterAll(async () => {
  await proxy?.stop();
  await relay?.stop();
  await lab?.stop();
});

test('state, timeline, messages, outbox, ledger and a recording', async ({ page }) => {
  const restaurant = 'inspected';
  const complaints = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  const options = { url: `${proxy.url}/ws`, restaurantId: restaurant, getToken: () => relay.token({ restaurant }) };
  await openLab(page, lab, options, 'inspector.html');
  const inspector = page.locator('tautline-inspector');
  await expect(inspector).toContainText('set its client property');
  await page.evaluate(() => {
    document.querySelector('tautline-inspector').client = window.__tautline;
  });
  expect(await connectLab(page)).toBe('connected');
  const state = inspector.getByRole('status');
  const panel = inspector.getByRole('tabpanel');
  await expect(state).toHaveText('connected');
  await expect(panel).toContainText(/stateChange\s*connecting/);

  await inspector.getByRole('tab', { name: 'messages' }).click();
  const order = await relay.postOrder({}, { restaurant });
  await expect(panel).toContainText('order:created');
  await expect(panel).toContainText(order.id);

  await inspector.getByRole('tab', { name: 'outbox' }).click();
  await expect(panel).toHaveText('nothing yet');
  await proxy.refuse();
  await expect(state).toHaveText('reconnecting');
  await expect(inspector).toContainText(/again in/);
  await page.evaluate(() => void window.__tautline.service.send('orders:note', { text: 'later' }).done.catch(() => {}));
  await expect(panel).toContainText(/orders:note\s*queued/);

  await inspector.getByRole('tab', { name: 'ledger' }).click();
  await expect(panel).toContainText(/timer\s*1\s*\d+ (ms|s)\s*inspector/);
  await inspector.getByRole('tab', { name: 'timeline' }).click();
  await expect(panel).toContainText(/disconnected.*"code":1006/);
  await page.screenshot({ path: 'tests/e2e/screenshots/inspector.png' });
  await proxy.resume();
  await inspector.getByRole('button', { name: 'reconnect now' }).click();
  await expect(state).toHaveText('connected');

  const [download] = await Promise.all([page.waitForEvent('download'), inspector.getByRole('button', { name: 'export recording' }).click()]);
  expect(JSON.parse(await readFile(await download.path(), 'utf8')).entries.length).toBeGreaterThan(10);

  // Taken out and put in again it goes on; for good, nothing is left of it.
  await page.evaluate(() => {
    const element = document.querySelector('tautline-inspector');
    element.remove();
    document.body.append(element);
  });
  await expect(state).toHaveText('connected');
  expect(await page.evaluate(() => window.__tautline.service.listenerCount('stateChange'))).toBe(1);
  await page.evaluate(() => document.querySelector('tautline-inspector').remove());
  const left = await page.evaluate(() => [window.__tautline.service.listenerCount('stateChange'), window.__tautline.resources.list().filter(({ owner }) => owner === 'inspector').length]);
  expect(left).toEqual([0, 0]);
  await page.evaluate(() => window.__tautline.dispose());
  expect(complaints).toEqual([]);
});
