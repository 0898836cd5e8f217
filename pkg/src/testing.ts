/**
 * For the tests of whoever uses `tautline`: the relay's own machines in memory, and a clock that the test moves. The client
 * is the one that is shipped; its `WebSocket`, `fetch` and timers are what `install()` puts in their place. Nothing of it
 * reaches a network.
 */
import { oneOf, optionalMs } from './check.js';
import { invalid } from './errors.js';
import { machines } from './testing/module.js';
import { TestRelay } from './testing/relay.js';
import type { TestRelayOptions } from './testing/types.js';

export { TestRelay };
export type { RunOptions, TestClock, Truthy } from './testing/clock.js';
export type { FaultName, FaultOptions, Faults, OnCommand, OnConnection, OnTokens } from './testing/faults.js';
export * from './testing/playwright.js';
export * from './testing/types.js';

const HEARTBEAT_MS = 15_000;

/**
 * Makes a relay in memory.
 *
 * ```ts
 * const relay = (await createTestRelay()).install();
 * relay.createOrder();
 * ```
 */
export async function createTestRelay(options: TestRelayOptions = {}): Promise<TestRelay> {
  const { url = 'ws://relay.test/ws', clock = 'virtual', leaks = 'throw', heartbeatMs, restaurant = 'test', seed = 1 } = options;
  if (!/^wss?:\/\/[^/]/.test(url)) throw invalid('createTestRelay({url}) takes a whole WebSocket address such as ws://relay.test/ws', url);
  if (!/^[A-Za-z0-9._~-]{1,64}$/.test(restaurant)) throw invalid('createTestRelay({restaurant}) takes 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -', restaurant);
  if (!Number.isSafeInteger(seed)) throw invalid('createTestRelay({seed}) takes a whole number', seed);
  oneOf('createTestRelay({clock})', ['virtual', 'none'], clock);
  oneOf('createTestRelay({leaks})', ['throw', 'ignore'], leaks);
  const heartbeat = optionalMs('createTestRelay({heartbeatMs})', heartbeatMs, 1_000) ?? HEARTBEAT_MS;
  return new TestRelay(await machines(heartbeat), options);
}
