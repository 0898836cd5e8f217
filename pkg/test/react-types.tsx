// Compiled, never run: what a React page may write, and what the compiler must refuse.

import { createTautline, type ConnectionState, type Order } from 'tautline';
import { createTautline as createCore } from 'tautline/core';
import { TautlineProvider, useConnectionState, useOrder, useOrders, useOrderSelector, useOrderUpdates, useTautline, useVoice, useWebSocketConnection } from 'tautline/react';

export function Page() {
  const state: ConnectionState = useConnectionState();
  const { error, retry } = useWebSocketConnection({ enabled: state !== 'error', onDisconnect: ({ code }) => code.toFixed() });
  const orders: readonly Order[] = useOrders({ statuses: ['ready', 'preparing'], table_number: 4 });
  const order: Order | undefined = useOrder('one');
  const count: number = useOrderSelector((all) => all.length);
  useOrderUpdates((update) => update.action === 'status_changed' && update.status === 'ready');
  useTautline()?.orders.requestSync();
  const { call, transcript } = useVoice({ relay: 'https://relay.example', getToken: async () => null });
  call?.on('level', ({ input }) => input.toFixed());
  // @ts-expect-error a status that does not exist
  useOrders({ statuses: ['done'] });
  // @ts-expect-error a member that does not exist
  useOrders({ table: 4 });
  // @ts-expect-error it is called with an update, not with orders
  useOrderUpdates((update: readonly Order[]) => update.length);
  return (
    <button onClick={() => void call?.connect()} onDoubleClick={retry}>
      {String(error)} {orders.map(({ order_number }) => order_number)} {order?.status} {count} {transcript.length}
    </button>
  );
}

export const whole = <TautlineProvider client={() => createTautline({ restaurantId: 'grow' })} fallback={<i />}><Page /></TautlineProvider>;
export const core = <TautlineProvider client={() => createCore({ restaurantId: 'grow' })}><Page /></TautlineProvider>;
export const own = async () => <TautlineProvider client={await createTautline()} />;
// @ts-expect-error a promise is no client: what makes one, or one that is there
export const promised = <TautlineProvider client={createTautline()} />;
