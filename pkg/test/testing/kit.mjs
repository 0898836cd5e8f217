// The client as it is shipped, on a relay in memory: what the tests beside this have in common.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { createTautline, initSync, resources } from '../../dist/index.js';
import { createTestRelay } from '../../dist/testing.js';

initSync(await readFile(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));

/**
 * A relay, installed, and a client of it, its order set begun: `body` is called with both and what the client said, then nothing
 * is left. The client does not log: an `error` it reports is in `said`.
 */
export async function withRelay({ relay: options, client: more, ...how }, body) {
  const relay = (await createTestRelay(options)).install();
  let leaked;
  try {
    const client = await createTautline({ url: relay.url, restaurantId: relay.restaurant, getToken: () => relay.token(how.claims), ...more });
    const said = [];
    for (const event of ['connected', 'disconnected', 'reconnecting', 'resumed', 'gap', 'error', 'stateChange', 'stale', 'fresh']) {
      client.service.on(event, (value) => said.push([event, value]));
    }
    const updates = [];
    client.orders.onOrderUpdate((update) => updates.push(update));
    client.orders.initialize();
    const heard = (event) => said.filter(([name]) => name === event).map(([, value]) => value);
    const ids = () => client.orders.orders().map(({ id }) => id);
    try {
      if (how.connect !== false) await client.service.connect();
      await relay.clock.advance();
      await body({ relay, clock: relay.clock, ...client, client, said, heard, updates, ids });
    } finally {
      client.dispose();
    }
  } catch (error) {
    leaked = error;
    throw error;
  } finally {
    // The first error is the one to read.
    if (leaked) try { relay.dispose(); } catch {}
    else relay.dispose();
  }
  assert.deepEqual(resources.list(), []);
}
