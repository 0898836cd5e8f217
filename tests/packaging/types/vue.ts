// The same of the entry for Vue, whose own types want a newer TypeScript.

import { createTautline, type ConnectionState, type Order, type Tautline } from 'tautline';
import { tautline, useConnection, useOrders, useOrderUpdates, useTautline } from 'tautline/vue';
import { createApp, type Ref } from 'vue';

export async function page(): Promise<void> {
  createApp({
    setup() {
      const state: Readonly<Ref<ConnectionState>> = useConnection().state;
      const orders: Readonly<Ref<readonly Order[]>> = useOrders(() => ({ statuses: ['ready' as const] }));
      useOrderUpdates(({ action }) => void action);
      const client: Tautline | undefined = useTautline<Tautline>();
      return { state, orders, client };
    },
  }).use(tautline, await createTautline({})).mount('#app');
}
