// What the tests of all clients have in common: a relay, a key, and what must be at the relay afterwards.

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { startRelay as start } from '../e2e/harness/relay.mjs';
import { MODEL } from './model.mjs';

/** @typedef {import('../e2e/harness/relay.mjs').Relay} Relay */

export { MODEL } from './model.mjs';
export const ORDER = 'two bacon burgers no pickles and a cola';

/** Without a page; pages of other origins on this machine may call. @param {object} [options] those of the harness */
export const startRelay = (options = {}) => start({ www: null, ...options, args: ['--allowed-origin', 'http://127.0.0.1:*', ...(options.args ?? [])] });

export async function until(what, holds, ms = 15_000) {
  for (const deadline = Date.now() + ms; ; ) {
    const value = await holds();
    if (value) return value;
    assert.ok(Date.now() < deadline, `not within ${ms} ms: ${what}`);
    await delay(20);
  }
}

/** An `ek_` secret, as a page's own server asks for one. @param {Relay} relay @param {string} name the restaurant and the caller */
export async function secret(relay, name) {
  const answer = await fetch(`${relay.url}/v1/realtime/client_secrets`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await token(relay, name)}`, 'content-type': 'application/json' },
    body: JSON.stringify({ session: { type: 'realtime', model: MODEL } }),
  });
  assert.equal(answer.status, 200);
  const { value } = await answer.json();
  assert.match(value, /^ek_/);
  return value;
}

/** Each test has a restaurant of its own, and a kiosk in it of the same name. @param {Relay} relay @param {string} name */
export const token = (relay, name) => relay.token({ restaurant: name, role: 'kiosk', sub: name });

/** Voice sessions that the relay has. @param {Relay} relay @param {string} name */
export const calls = async (relay, name) => (await relay.sessions({ restaurant: name })).filter(({ kind }) => kind === 'voice');

/** @param {Relay} relay @param {string} name */
export const hungUp = (relay, name) => until('the relay has let go of the session', async () => (await calls(relay, name)).length === 0);

/** The one order that `ORDER` and "that's all" make, in the log and so on the kitchen display. @param {Relay} relay @param {string} name */
export async function assertOrdered(relay, name) {
  const orders = await relay.orders({ restaurant: name });
  assert.equal(orders.length, 1, 'one order was submitted');
  const [{ items, created_by, status, total }] = orders;
  assert.deepEqual(items.map((item) => [item.name, item.quantity]), [['Bacon burger', 2], ['Cola', 1]]);
  assert.deepEqual(items[0].modifiers.map((modifier) => modifier.name), ['no pickles']);
  assert.deepEqual({ created_by, status, total }, { created_by: name, status: 'new', total: 21.8 });
}
