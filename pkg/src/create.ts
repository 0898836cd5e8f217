import { isLoaded, onServer } from './handle.js';
import init, { type InitInput } from './loader.js';
import { ConnectionManager } from './manager.js';
import { OrderUpdates } from './orders.js';
import { WebSocketService } from './service.js';
import { dispose } from './symbols.js';
import type { ManagerOptions, ServiceOptions } from './types.js';

/** Options of {@link createTautline}: the service's, where the WebAssembly comes from, and how long to linger. */
export interface TautlineOptions extends ServiceOptions, ManagerOptions {
  /** As for `init`. Default: from beside the package's own files. */
  module?: InitInput | undefined;
}

/** Everything a page of live orders needs, on one connection. */
export interface Tautline {
  readonly service: WebSocketService;
  readonly manager: ConnectionManager;
  readonly orders: OrderUpdates;
  /** Ends all three. Twice does nothing. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/**
 * Loads the module and makes a service, a manager and an order set on it; nothing is connected yet. On a server it
 * loads nothing and makes inert objects, unless `module` is given.
 *
 * ```ts
 * const tautline = await createTautline({ restaurantId: 'grow', getToken: () => fetchToken() });
 * ```
 */
export async function createTautline(options: TautlineOptions = {}): Promise<Tautline> {
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
