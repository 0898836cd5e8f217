import { jest } from '@jest/globals';
import { createTautline } from 'tautline';
import { createTestRelay } from 'tautline/testing';

test("with Jest's own fake timers the clock is theirs", async () => {
  jest.useFakeTimers({ doNotFake: ['queueMicrotask', 'nextTick'] });
  const relay = (await createTestRelay({ clock: 'none' })).install();
  const client = await createTautline({ url: relay.url, restaurantId: relay.restaurant, getToken: () => relay.token() });
  const connected = client.service.connect();
  await jest.advanceTimersByTimeAsync(50);
  await connected;
  relay.fault('cut');
  await jest.advanceTimersByTimeAsync(60_000);
  expect(client.service.isConnected()).toBe(true);
  client.dispose();
  relay.dispose();
  expect(jest.getTimerCount()).toBe(0);
  jest.useRealTimers();
});
