/**
 * Stores for Svelte 3 and newer over one client, also for whatever else understands its store contract. A store works while
 * it has subscribers, and without a client, on a server, is `disconnected` and empty.
 *
 * ```ts
 * const client = await createTautline({ restaurantId: 'grow' });
 * const open = orders(client, { statuses: ['confirmed', 'preparing'] }); // {#each $open as order (order.id)}
 * ```
 */
import { type TautlineClient, hold } from './adapter.js';
import type { OrderConditions } from './filter.js';
import type { Order } from './order.js';
import { OrderStore, matching, sameOrders } from './order-store.js';
import type { ConnectionState } from './types.js';

export type { TautlineClient } from './adapter.js';

/** Svelte's contract: `run` is called at once, and at each change, until the function returned is. */
export interface Readable<T> {
  /** Calls `run` with each value, the first at once; the function returned ends it. */
  subscribe(run: (value: T) => void): () => void;
}

/** What {@link connection} holds. */
export interface Connection {
  /** The connection as the page sees it. */
  readonly state: ConnectionState;
  /** Why it was given up; gone when it is there again. */
  readonly error: unknown;
}

const stores = new WeakMap<TautlineClient, OrderStore>();

/** One subscription to the orders however many stores there are. */
function storeOf(client: TautlineClient | undefined): OrderStore {
  const known = client && stores.get(client);
  if (known) return known;
  const made = new OrderStore(client?.orders);
  if (client) stores.set(client, made);
  return made;
}

/** The state of the connection. */
export function connectionState(client: TautlineClient | undefined): Readable<ConnectionState> {
  return {
    subscribe(run) {
      run(client?.service.getConnectionState() ?? 'disconnected');
      return client?.service.on('stateChange', (state) => run(state as ConnectionState)) ?? (() => {});
    },
  };
}

/** The connection, held while there is a subscriber. */
export function connection(client: TautlineClient | undefined): Readable<Connection> {
  return {
    subscribe(run) {
      let error: unknown;
      const tell = () => run({ state: client?.service.getConnectionState() ?? 'disconnected', error });
      const fail = (why?: unknown) => {
        if (error === why) return;
        error = why;
        tell();
      };
      tell();
      if (!client) return () => {};
      const ends = [client.service.on('connected', () => fail()), client.service.on('stateChange', tell), hold(client, fail)];
      return () => ends.forEach((end) => end());
    },
  };
}

/** The live orders, those that `filter` asks for: the same array until one of them changed, told at most once a frame. */
export function orders(client: TautlineClient | undefined, filter?: OrderConditions): Readable<readonly Order[]> {
  const store = storeOf(client);
  const select = filter ? matching(filter) : (all: readonly Order[]) => all;
  return {
    subscribe(run) {
      let told: readonly Order[] | undefined;
      const tell = () => {
        const now = select(store.orders());
        if (told && sameOrders(told, now)) return;
        run((told = now));
      };
      const off = store.subscribe(tell);
      tell();
      return off;
    },
  };
}
