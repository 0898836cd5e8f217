// Compiled, never run: what stands on Vue's own declarations, which want TypeScript 5.4.

import type { ConnectionState, Order, Tautline } from 'tautline';
import { tautline, useConnection, useOrders, useTautline } from 'tautline/vue';
import { createApp } from 'vue';

export function Kitchen(): { readonly state: ConnectionState; readonly first: Order | undefined } {
  const orders = useOrders(() => ({ statuses: ['new'] }));
  const { state } = useConnection();
  return { state: state.value, first: useTautline() && orders.value[0] };
}

export const app = (client: Tautline) => createApp({ setup: Kitchen }).use(tautline, client);
