import { beside } from '../wasm/beside.js';
import { create, type Tautline, type TautlineOptions } from './create.js';
import { load, type InitInput } from './load.js';

/**
 * Loads the WebAssembly module, once however often it is called; after a failure it may be called again. Without
 * `input` it is fetched from beside the package's own files. Rejects `wasm_unavailable`.
 */
export default function init(input?: InitInput): Promise<void> {
  return load(input, beside);
}

/**
 * Loads the module and makes a service, a manager and an order set on it; nothing is connected yet. On a server it
 * loads nothing and makes inert objects, unless `module` is given.
 *
 * ```ts
 * const tautline = await createTautline({ restaurantId: 'grow', getToken: () => fetchToken() });
 * ```
 */
export function createTautline(options?: TautlineOptions): Promise<Tautline> {
  return create(options, init);
}
