/**
 * Composables for Vue 3 over one client. What a component holds goes with its scope; a burst of events is one change.
 *
 * ```ts
 * createApp(App).use(tautline, await createTautline({ restaurantId: 'grow' })).mount('#app');
 * ```
 */
import { type InjectionKey, type MaybeRefOrGetter, type Plugin, type Ref, computed, inject, onScopeDispose, shallowReadonly, shallowRef, toValue } from 'vue';
import { type TautlineClient, hold } from './adapter.js';
import type { OrderConditions } from './filter.js';
import type { Order, OrderUpdate } from './order.js';
import { OrderStore, matching, sameOrders } from './order-store.js';
import type { ConnectionState } from './types.js';

export type { TautlineClient } from './adapter.js';

interface Provided {
  readonly client: TautlineClient | undefined;
  readonly store: OrderStore;
}

const KEY: InjectionKey<Provided> = Symbol('tautline');

/** `app.use(tautline, client)`; the client is the page's own to dispose. Without one, on a server, it is `disconnected` and there are no orders. */
export const tautline: Plugin<[client?: TautlineClient]> = {
  install(app, client) {
    app.provide(KEY, { client, store: new OrderStore(client?.orders) });
  },
};

function provided(composable: string): Provided {
  const found = inject(KEY, undefined);
  if (!found) throw new Error(`${composable}() needs app.use(tautline, client)`);
  return found;
}

/** The client of `app.use(tautline, client)`. */
export function useTautline<C extends TautlineClient = TautlineClient>(): C | undefined {
  return provided('useTautline').client as C | undefined;
}

/** The state of the connection. */
export function useConnectionState(): Readonly<Ref<ConnectionState>> {
  const { client } = provided('useConnectionState');
  const state = shallowRef<ConnectionState>(client?.service.getConnectionState() ?? 'disconnected');
  if (client) onScopeDispose(client.service.on('stateChange', (now) => (state.value = now as ConnectionState)));
  return shallowReadonly(state);
}

/** Holds a share in the connection while the component is there; `error` says why it was given up. */
export function useConnection(): { readonly state: Readonly<Ref<ConnectionState>>; readonly error: Readonly<Ref<unknown>> } {
  const { client } = provided('useConnection');
  const error = shallowRef<unknown>();
  if (client) {
    onScopeDispose(client.service.on('connected', () => (error.value = undefined)));
    onScopeDispose(hold(client, (why) => (error.value = why)));
  }
  return { state: useConnectionState(), error: shallowReadonly(error) };
}

/** The live orders, those that `filter` asks for: the same array until one of them changed. */
export function useOrders(filter?: MaybeRefOrGetter<OrderConditions | undefined>): Readonly<Ref<readonly Order[]>> {
  const { client, store } = provided('useOrders');
  const all = shallowRef(store.orders());
  if (client) {
    onScopeDispose(store.subscribe(() => (all.value = store.orders())));
    all.value = store.orders();
  }
  const matches = computed(() => {
    const conditions = toValue(filter);
    return conditions ? matching(conditions) : (orders: readonly Order[]) => orders;
  });
  return computed<readonly Order[]>((before) => {
    const now = matches.value(all.value);
    return before && sameOrders(before, now) ? before : now;
  });
}

/** Calls back for every change of the orders, in order, once, as it comes. */
export function useOrderUpdates(callback: (update: OrderUpdate) => unknown): void {
  const { client, store } = provided('useOrderUpdates');
  if (!client) return;
  store.begin();
  onScopeDispose(client.orders.onOrderUpdate(callback));
}
