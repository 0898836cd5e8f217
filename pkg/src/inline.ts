/**
 * All of `tautline` with its WebAssembly inside, in base64: for one-file bundles and wherever a second file is awkward. The
 * classes are those of `tautline`, and so is what they are loaded from: a page that imports both loads one module, the first asked for.
 */
import { inline } from '../wasm/inline.js';
import { create, type Tautline, type TautlineOptions } from './create.js';
import { load, type InitInput } from './load.js';

export * from './parts.js';
export { VoiceConnection, VoiceConnection as WebRTCConnection } from './voice.js';
export * from './voice-types.js';

const inside = () => Uint8Array.from(atob(inline), (letter) => letter.charCodeAt(0));

/**
 * Loads the WebAssembly module from the bytes in this entry, once however often it is called. Nothing is fetched, unless
 * `input` says from where. Rejects `wasm_unavailable`.
 */
export default function init(input?: InitInput): Promise<void> {
  return load(input, inside);
}

/**
 * Loads the module and makes a service, a manager and an order set on it, as that of `tautline` does; nothing is
 * connected yet. On a server it loads nothing and makes inert objects, unless `module` is given.
 */
export function createTautline(options?: TautlineOptions): Promise<Tautline> {
  return create(options, init);
}
