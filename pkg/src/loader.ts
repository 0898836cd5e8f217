import load, { initSync as loadSync, installHost } from '../wasm/tautline.js';
import { invalid, TautlineError } from './errors.js';
import { isLoaded, setLoaded } from './handle.js';
import { createHost } from './host.js';
import { trap } from './trap.js';

/** Where the WebAssembly comes from. */
export type ModuleSource = RequestInfo | URL | Response | BufferSource | WebAssembly.Module;

/** What `init` takes: a source, a promise of a response, or either in `{ module_or_path }`. */
export type InitInput = ModuleSource | Promise<Response> | { module_or_path: ModuleSource | Promise<Response> };

/** Forgotten when it fails: a page that was offline may try again. */
let loading: Promise<void> | undefined;

/**
 * Loads the WebAssembly module, once however often it is called; after a failure it may be called again. Without
 * `input` it is fetched from beside the package's own files. Rejects `wasm_unavailable`.
 */
export default function init(input?: InitInput): Promise<void> {
  const dead = trap();
  if (dead) return Promise.reject(dead);
  if (isLoaded()) return Promise.resolve();
  return (loading ??= begin(input).finally(() => (loading = undefined)));
}

async function begin(input: InitInput | undefined): Promise<void> {
  requireWebAssembly();
  const source = await (isWrapped(input) ? input.module_or_path : input);
  try {
    await load(source === undefined ? undefined : { module_or_path: source });
  } catch (cause) {
    throw unavailable(cause);
  }
  installed();
}

/**
 * Loads the module from bytes or a compiled module at once: for tests, workers and Node, where there is nothing to
 * fetch. Does nothing when it is loaded already. Throws `wasm_unavailable`.
 */
export function initSync(module: BufferSource | WebAssembly.Module): void {
  const dead = trap();
  if (dead) throw dead;
  if (isLoaded()) return;
  if (loading) throw new TautlineError('invalid_argument', 'initSync() during init(): await that instead');
  requireWebAssembly();
  if (!(module instanceof WebAssembly.Module || module instanceof ArrayBuffer || ArrayBuffer.isView(module))) {
    throw invalid('initSync() takes the bytes of tautline_bg.wasm or a WebAssembly.Module; to fetch it use init()', module);
  }
  try {
    loadSync({ module });
  } catch (cause) {
    throw unavailable(cause);
  }
  installed();
}

function installed(): void {
  installHost(createHost());
  setLoaded();
}

function isWrapped(input: InitInput | undefined): input is { module_or_path: ModuleSource | Promise<Response> } {
  return typeof input === 'object' && Object.getPrototypeOf(input) === Object.prototype && 'module_or_path' in input;
}

function requireWebAssembly(): void {
  if (typeof WebAssembly !== 'object') {
    throw new TautlineError('wasm_unavailable', 'this browser has no WebAssembly, or a policy forbids it: allow \'wasm-unsafe-eval\' in script-src');
  }
}

function unavailable(cause: unknown): TautlineError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TautlineError(
    'wasm_unavailable',
    `tautline_bg.wasm could not be loaded (${why}). Check that it is served where init() looks for it, or say where: init(url). Under Node give its bytes to initSync()`,
    { cause, retryable: !(cause instanceof WebAssembly.CompileError) },
  );
}
