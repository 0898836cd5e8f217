import { isLoaded, onServer } from './handle.js';
import type { InitInput } from './load.js';
import { ConnectionManager } from './manager.js';
import { OrderUpdates } from './orders.js';
import { WebSocketService } from './service.js';
import { dispose } from './symbols.js';
import type { ManagerOptions, ServiceOptions } from './types.js';

/** Options of `createTautline`: the service's, where the WebAssembly comes from, and how long to linger. */
export interface TautlineOptions extends ServiceOptions, ManagerOptions {
  /** As for `init`. Default: what the entry that it is imported from has. */
  module?: InitInput | undefined;
}

/** Everything a page of live orders needs, on one connection. */
export interface Tautline {
  /** The connection. */
  readonly service: WebSocketService;
  /** Who holds it. */
  readonly manager: ConnectionManager;
  /** What comes over it. */
  readonly orders: OrderUpdates;
  /** Ends all three. Twice does nothing. */
  dispose(): void;
  /** The same as `dispose()`: `using` works. */
  [Symbol.dispose](): void;
}

/** @internal An entry's `createTautline`, with the entry's own `init`. */
export async function create(options: TautlineOptions = {}, init: (input?: InitInput) => Promise<void>): Promise<Tautline> {
  const { module, lingerMs, ...serviceOptions } = options;
  if (module !== undefined || (!isLoaded() && !onServer())) await init(module);
  const service = new WebSocketService(serviceOptions);
  const manager = new ConnectionManager(service, { lingerMs });
  const orders = new OrderUpdates(service);
  const end = () => {
    orders.dispose();
    manager.dispose();
    service.dispose();
  };
  return { service, manager, orders, dispose: end, [dispose]: end };
}
