// The first promise of all: an order posted with HTTP is on an open page.

import { expect, test } from '@playwright/test';
import { openDisplay, startRelay, ticket } from './harness/index.mjs';

test('an order posted by HTTP appears on the open page', async ({ page }) => {
  const relay = await startRelay();
  try {
    await openDisplay(page, relay.url);
    const order = await relay.postOrder({ table_number: '7' });
    await expect(ticket(page, order.id)).toHaveAttribute('data-status', 'new');
    await expect(ticket(page)).toHaveCount(1);
  } finally {
    await relay.stop();
  }
});
