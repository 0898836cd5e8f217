// The display on a wall and on a phone, full of orders: pictures to look at, and what can be checked without eyes.

import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@playwright/test';
import { inCall, openDisplay, part, say, startRelay, ticket } from './harness/index.mjs';

const SIZES = { wall: { width: 1920, height: 1080 }, phone: { width: 390, height: 844 } };
const PICTURES = fileURLToPath(new URL('screenshots/', import.meta.url));
const DISHES = [
  ['Smash burger', 'Grill', ['No onion', 'Extra cheese']], ['Fries', 'Fryer', ['Large']], ['Caesar salad', 'Cold', []], ['Margherita', 'Oven', ['Cut in eight']],
  ['Chicken skewer', 'Grill', []], ['Lemon tart', 'Cold', ['With cream']], ['Onion rings', 'Fryer', []],
];
const STATUSES = ['new', 'new', 'confirmed', 'preparing', 'preparing', 'ready', 'picked-up'];

let relay;
test.beforeAll(async () => {
  relay = await startRelay();
  // A back end states facts, so that there are tickets of every age: the relay's own are always new.
  for (let n = 0; n < 32; n += 1) {
    const created = new Date(Date.now() - n * 24_000).toISOString();
    const items = Array.from({ length: 1 + (n % 3) }, (_, index) => {
      const [name, station, modifiers] = DISHES[(n * 3 + index * 2) % DISHES.length];
      return {
        id: randomUUID(), menu_item_id: name, name, station, quantity: 1 + ((n + index) % 3), price: 9.5, subtotal: 9.5,
        status: STATUSES[n % STATUSES.length] === 'preparing' && index === 0 ? 'ready' : 'pending',
        modifiers: modifiers.slice(0, (n + index) % 3).map((wish) => ({ id: wish, name: wish, price: 0 })),
      };
    });
    const order = {
      id: randomUUID(), restaurant_id: 'demo', order_number: String(101 + n), type: n % 4 === 3 ? 'takeout' : 'dine-in',
      status: STATUSES[n % STATUSES.length], items, subtotal: 9.5, total: 9.5, payment_status: 'pending', price_verified: true,
      created_at: created, updated_at: created, ...(n % 4 === 3 ? { customer_name: 'Okafor' } : { table_number: String(1 + n) }), ...(n === 4 ? { notes: 'Nut allergy at this table' } : {}),
    };
    const { status, body } = await relay.api('POST', '/events', { type: 'order:created', payload: { order } }, { role: 'service' });
    if (status !== 202) throw new Error(`POST events answered ${status}: ${JSON.stringify(body)}`);
  }
});
test.afterAll(() => relay?.stop());

/** Text whose colour is too close to what it stands on (WCAG AA), as far as plain colours tell. */
function faintText() {
  const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true });
  const paint = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor, backgroundImage } = getComputedStyle(at);
      if (backgroundImage !== 'none') return undefined;
      const colour = paint(backgroundColor);
      if (colour[3] === 255) return colour;
      if (colour[3] > 0) return undefined;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.textContent.trim()).join('');
    if (text === '' || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) || element.closest('.visually-hidden, .skip, [disabled]')) continue;
    const { color, fontSize, fontWeight } = getComputedStyle(element);
    const behind = ground(element);
    const front = paint(color);
    if (!behind || front[3] < 255) continue;
    const [a, b] = [luminance(front), luminance(behind)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parse(fontSize)[0] >= 24 || (parse(fontSize)[0] >= 18.66 && Number(fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`${element.className || element.tagName} "${text.slice(0, 30)}" ${ratio.toFixed(2)}`);
  }
  return [...new Set(found)];
}

/** Things to press that have no name a screen reader could say, or are too small to hit. */
function badControls(least) {
  const found = [];
  for (const control of document.querySelectorAll('button, a, input, select')) {
    if (!control.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true }) || control.matches('.skip')) continue;
    const label = control.getAttribute('aria-label') || control.textContent.trim() || control.labels?.[0]?.textContent || control.title;
    if (!label) found.push(`${control.outerHTML.slice(0, 80)} has no name`);
    const hit = control.type === 'checkbox' ? (control.closest('label') ?? control) : control;
    const { width, height } = hit.getBoundingClientRect();
    if (Math.min(width, height) < least) found.push(`"${label}" (${control.className}) is ${Math.round(width)} × ${Math.round(height)}`);
  }
  return [...new Set(found)];
}

for (const [name, viewport] of Object.entries(SIZES)) {
  for (const colorScheme of ['dark', 'light']) {
    test(`${name}, ${colorScheme}`, async ({ browser }) => {
      const context = await browser.newContext({ viewport, colorScheme, hasTouch: name === 'phone', reducedMotion: 'reduce' });
      try {
        const page = await context.newPage();
        await openDisplay(page, relay.url);
        await expect(ticket(page)).toHaveCount(28);
        // Every age has its colour.
        for (const age of ['fresh', 'warm', 'late']) expect(await page.locator(`[data-testid=ticket][data-age=${age}]`).count(), age).toBeGreaterThan(0);
        await page.screenshot({ path: `${PICTURES}${name}-${colorScheme}.png` });

        // Nothing sticks out sideways: only the board of a phone may scroll, within itself.
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
        expect(await page.evaluate(faintText)).toEqual([]);
        expect(await page.evaluate(badControls, 24)).toEqual([]);

        if (name === 'phone') {
          for (const place of ['all-day', 'voice', 'service']) {
            await page.locator(`[data-place=${place}]`).last().tap();
            await expect(page.locator(`html[data-place=${place}]`)).toHaveCount(1);
            await page.screenshot({ path: `${PICTURES}${name}-${colorScheme}-${place}.png` });
            expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
            expect(await page.evaluate(faintText)).toEqual([]);
            expect(await page.evaluate(badControls, 24)).toEqual([]);
          }
        } else {
          await part(page, 'open').click();
        }

        // The voice panel, in a call with an order half taken.
        if (name === 'phone') await page.locator('[data-place=voice]').last().tap();
        await part(page, 'start').click();
        await inCall(page);
        await say(page, 'two bacon burgers no pickles and a cola');
        await expect(part(page, 'line')).toHaveCount(2);
        await expect(part(page, 'quality')).toHaveAttribute('data-score', /\d/);
        await page.screenshot({ path: `${PICTURES}${name}-${colorScheme}-call.png` });
        await expect(part(page, 'talk')).toBeInViewport({ ratio: 1 });
        await expect(part(page, 'submit')).toBeInViewport({ ratio: 1 });
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(viewport.width);
        expect(await page.evaluate(faintText)).toEqual([]);
        expect(await page.evaluate(badControls, 24)).toEqual([]);
      } finally {
        await context.close();
      }
    });
  }
}

test('the keyboard reaches the tickets first and walks them in order', async ({ page }) => {
  await page.setViewportSize(SIZES.wall);
  await openDisplay(page, relay.url);
  await expect(ticket(page)).toHaveCount(28);
  await page.keyboard.press('Tab');
  expect(await page.evaluate(() => document.activeElement.className)).toBe('skip');
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  const order = await ticket(page).evaluateAll((all) => all.map((one) => one.dataset.orderId));
  expect(await page.evaluate(() => document.activeElement.closest('[data-order-id]')?.dataset.orderId)).toBe(order[0]);
  await page.keyboard.press('ArrowDown');
  expect(await page.evaluate(() => document.activeElement.closest('[data-order-id]')?.dataset.orderId)).toBe(order[1]);
  const status = await ticket(page, order[1]).getAttribute('data-status');
  expect(status).toBe('new');
  await page.keyboard.press('Enter');
  await expect(ticket(page, order[1])).toHaveAttribute('data-status', 'confirmed');
  await page.keyboard.press('Backspace');
  await expect(ticket(page, order[1])).toHaveAttribute('data-status', 'pending');
});
