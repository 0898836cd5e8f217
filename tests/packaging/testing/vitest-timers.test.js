import { createTautline } from 'tautline';
import { createTestRelay } from 'tautline/testing';
import { vi } from 'vitest';

test("with Vitest's own fake timers the clock is theirs", async () => {
  vi.useFakeTimers();
  const relay = (await createTestRelay({ clock: 'none' })).install();
  const client = await createTautline({ url: relay.url, restaurantId: relay.restaurant, getToken: () => relay.token() });
  const connected = client.service.connect();
  await vi.advanceTimersByTimeAsync(50);
  await connected;
  relay.fault('cut');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(client.service.isConnected()).toBe(true);
  const [page] = await Promise.all([client.orders.fetchOrders(), vi.advanceTimersByTimeAsync(50)]);
  expect(page).toEqual({ orders: [] });
  client.dispose();
  relay.dispose();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});
