// The servers that the tests run against: a real relay, and one that speaks only the plain dialect.

import { uncounted } from './host.js';

let relay;
let plain;
let worklet;

export function servers(relayUrl, plainUrl, workletUrl) {
  relay = relayUrl;
  plain = plainUrl;
  worklet = workletUrl;
}

/** Where the file of a call's worklets is. */
export const workletUrl = () => worklet;

/** Where calls over a socket are held. */
export const realtimeSocket = () => `${relay}/v1/realtime`;

/** An `ek_` secret for a call. */
export async function secret(restaurantId) {
  const headers = { authorization: `Bearer ${await token(restaurantId)}`, 'content-type': 'application/json' };
  return (await uncounted(() => fetch(`${relay}/v1/realtime/client_secrets`, { method: 'POST', headers, body: '{}' })).then(json)).value;
}

let last = 0;
/** A restaurant that no other test has. */
export const restaurant = (name) => `${name}-${Date.now().toString(36)}-${++last}`;

export const relaySocket = () => `${relay.replace('http', 'ws')}/ws`;
export const plainSocket = () => `${plain.replace('http', 'ws')}/ws`;

async function json(response) {
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? undefined : response.json();
}

/** A token of the relay's development mode. */
export async function token(restaurantId, role = 'manager', ttl) {
  const query = new URLSearchParams({ restaurant_id: restaurantId, role, ...(ttl ? { ttl } : {}) });
  return (await uncounted(() => fetch(`${relay}/dev/token?${query}`)).then(json)).token;
}

/** The relay's HTTP API below a restaurant. */
export async function api(restaurantId, method, path, body) {
  const headers = { authorization: `Bearer ${await token(restaurantId)}`, 'content-type': 'application/json' };
  const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  return uncounted(() => fetch(`${relay}/api/v1/restaurants/${restaurantId}${path}`, init)).then(json);
}

/** Trouble for a restaurant's connections, as the demo page makes it. */
export async function trouble(restaurantId, body) {
  const headers = { authorization: `Bearer ${await token(restaurantId)}`, 'content-type': 'application/json' };
  return uncounted(() => fetch(`${relay}/dev/trouble`, { method: 'POST', headers, body: JSON.stringify(body) })).then(json);
}

/** The plain server's controls (`tests/servers/plain.mjs`). */
export function control(restaurantId, action, body = {}) {
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  return uncounted(() => fetch(`${plain}/control/${action}?restaurant_id=${restaurantId}`, init)).then(json);
}

export const newOrder = (name = 'Soup') => ({
  type: 'dine-in',
  table_number: '7',
  items: [{ menu_item_id: 'm1', name, quantity: 1, price: 4.5, station: 'grill' }],
});
