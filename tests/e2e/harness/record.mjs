// What a page's client tells its callbacks, kept in the page from the moment the client is made.

/**
 * Before the page is loaded: `window.__seen` will hold what the client at `window.__tautline` calls back with, and
 * the codes the page closes its sockets with.
 * @param {import('@playwright/test').Page | import('@playwright/test').BrowserContext} target
 */
export async function record(target) {
  await target.addInitScript(() => {
    const seen = { updates: [], counts: [], states: [], disconnects: [], resumes: [], gaps: 0, errors: [], closes: [], lifecycle: [] };
    window.__seen = seen;
    const { close } = WebSocket.prototype;
    WebSocket.prototype.close = function (...given) {
      seen.closes.push(given[0]);
      return close.apply(this, given);
    };
    addEventListener('pagehide', ({ persisted }) => seen.lifecycle.push(`pagehide ${persisted}`));
    addEventListener('pageshow', ({ persisted }) => seen.lifecycle.push(`pageshow ${persisted}`));
    for (const type of ['freeze', 'resume']) document.addEventListener(type, () => seen.lifecycle.push(type));
    document.addEventListener('visibilitychange', () => seen.lifecycle.push(document.visibilityState));
    let client;
    Object.defineProperty(window, '__tautline', {
      configurable: true,
      get: () => client,
      set(value) {
        client = value;
        const { service, orders } = value;
        orders.onOrderUpdate(({ action, orderId, status, seq, source, initial }) =>
          seen.updates.push({ action, orderId, status, seq, source, initial: initial === true }));
        orders.onOrders((list) => seen.counts.push(list.length));
        service.on('stateChange', (state) => seen.states.push(state));
        service.on('disconnected', ({ code, willReconnect }) => seen.disconnects.push({ code, willReconnect }));
        service.on('resumed', (range) => seen.resumes.push(range));
        service.on('gap', () => (seen.gaps += 1));
        service.on('error', ({ code, message }) => seen.errors.push({ code, message }));
      },
    });
  });
}

/** `window.__seen` of a page. @param {import('@playwright/test').Page} page */
export const seen = (page) => page.evaluate(() => window.__seen);

/** Ids and statuses of the client's own set, sorted by id. @param {import('@playwright/test').Page} page */
export const orderSet = (page) => page.evaluate(() => window.__tautline.orders.orders().map(({ id, status }) => `${id} ${status}`).sort());

/** The same of the relay's list. @param {import('./relay.mjs').Relay} relay @param {string} [restaurant] */
export async function relaySet(relay, restaurant) {
  const orders = await relay.orders({ restaurant });
  return orders.map(({ id, status }) => `${id} ${status}`).sort();
}

/** Ids that a page was told of more than once as new, and whether events came in order. @param {{ updates: any[] }} told */
export function faults({ updates }) {
  const known = new Set();
  const again = [];
  for (const { action, orderId } of updates) {
    if (action === 'created' && known.has(orderId)) again.push(orderId);
    if (action === 'created') known.add(orderId);
  }
  const seqs = updates.filter(({ source }) => source === 'event').map(({ seq }) => seq);
  const unordered = seqs.filter((seq, index) => index > 0 && seq <= seqs[index - 1]);
  return { again, unordered };
}

/** What `faults` says of a page that was told everything once and in order. */
export const NO_FAULTS = { again: [], unordered: [] };
