// What the adapters for frameworks share: what they need of a client, and how a component holds its connection.

import type { Order, OrderUpdate } from './order.js';
import type { ConnectionState } from './types.js';

/** What the adapters need of a client: that of `tautline` or of `tautline/core`. */
export interface TautlineClient {
  /** The connection. */
  readonly service: {
    on(event: 'stateChange' | 'connected' | 'disconnected' | 'error', listener: (value: unknown) => unknown): () => void;
    getConnectionState(): ConnectionState;
    isConnected(): boolean;
  };
  /** Who holds it. */
  readonly manager: { acquire(options: { signal: AbortSignal }): Promise<{ release(): void }> };
  /** What comes over it. */
  readonly orders: {
    initialize(): void;
    orders(): readonly Order[];
    onOrders(callback: (orders: readonly Order[]) => unknown): () => void;
    onOrderUpdate(callback: (update: OrderUpdate) => unknown): () => void;
  };
  /** Ends all three. */
  dispose(): void;
}

/** A connect under way is given up this long after the component that wanted it is gone: it may be mounted again, ms. */
const PATIENCE_MS = 1_000;

/** Holds a share in the connection until the function returned is called; `failed` hears why there is none. */
export function hold({ manager }: TautlineClient, failed: (why: unknown) => void): () => void {
  const wait = new AbortController();
  let gone = false;
  let release: (() => void) | undefined;
  let patience: ReturnType<typeof setTimeout> | undefined;
  manager.acquire({ signal: wait.signal }).then(
    (lease) => {
      clearTimeout(patience);
      release = () => lease.release();
      if (gone) release();
    },
    (why: unknown) => {
      clearTimeout(patience);
      release = () => {};
      if (!gone) failed(why);
    },
  );
  return () => {
    gone = true;
    if (release) release();
    else patience = setTimeout(() => wait.abort(), PATIENCE_MS);
  };
}
