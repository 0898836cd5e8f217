// What a test looks for on the kitchen display: `data-` attributes, never words or classes.

import { expect } from '@playwright/test';

/** One ticket, or all of them. @param {import('@playwright/test').Page} page @param {string} [id] */
export const ticket = (page, id) => page.locator(`[data-testid=ticket]${id === undefined ? '' : `[data-order-id="${id}"]`}`);

/** @param {import('@playwright/test').Page} page */
export const connection = (page) => page.locator('[data-testid=connection]');

/**
 * Opens the display and waits until it is connected.
 * @param {import('@playwright/test').Page} page @param {string} url @param {{ restaurant?: string }} [options]
 */
export async function openDisplay(page, url, { restaurant } = {}) {
  await page.goto(restaurant === undefined ? `${url}/` : `${url}/?restaurant_id=${encodeURIComponent(restaurant)}`);
  await expect(connection(page)).toHaveAttribute('data-state', 'connected');
  return page;
}

/** Ids and states of the tickets as they stand on the page. @param {import('@playwright/test').Page} page */
export async function tickets(page) {
  return ticket(page).evaluateAll((all) => all.map((one) => ({ id: one.dataset.orderId, status: one.dataset.status })));
}
