// The module of the relay's machines, loaded once from the bytes beside it. The client's own module is the page's to load.

import load, { TestRelay as Machines } from '../../testing/wasm/relay.js';
import { inline } from '../../testing/wasm/inline.js';

let loading: Promise<unknown> | undefined;

/** The machines of a relay. */
export type { Machines };

export async function machines(heartbeatMs: number): Promise<Machines> {
  loading ??= load({ module_or_path: Uint8Array.from(atob(inline), (letter) => letter.charCodeAt(0)) });
  await loading;
  return new Machines(heartbeatMs);
}
