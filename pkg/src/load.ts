import loadModule, { initSync as loadSync, installHost } from '../wasm/tautline.js';
import { invalid, TautlineError, type ErrorFields } from './errors.js';
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
 * @internal Loads the module, once for all entries of the package: they share what is loaded. `own` is where it is unless
 * the page says otherwise; each entry has its own, so that a bundler sees only the one that is used.
 */
export function load(input: InitInput | undefined, own: () => ModuleSource): Promise<void> {
  const dead = trap();
  if (dead) return Promise.reject(dead);
  if (isLoaded()) return Promise.resolve();
  return (loading ??= begin(input, own).finally(() => (loading = undefined)));
}

async function begin(input: InitInput | undefined, own: () => ModuleSource): Promise<void> {
  requireWebAssembly();
  const source = (await (isWrapped(input) ? input.module_or_path : input)) ?? own();
  const where = addressOf(source);
  try {
    await loadModule({ module_or_path: where === undefined ? source : await fetched(source as RequestInfo | URL, where) });
  } catch (cause) {
    throw cause instanceof TautlineError ? cause : unavailable(cause, where);
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

/** Where something is to be fetched from; `undefined` when it is there already. */
function addressOf(source: ModuleSource): string | undefined {
  if (typeof Request === 'function' && source instanceof Request) return source.url;
  return typeof source === 'string' || source instanceof URL ? String(source) : undefined;
}

async function fetched(source: RequestInfo | URL, where: string): Promise<Response> {
  const response = await fetch(source);
  if (!response.ok) throw wasmUnavailable(`the server answered ${response.status}. ${SERVED}`, where, { status: response.status, retryable: true });
  return response;
}

const SERVED = 'Check that it is served where init() looks for it, or say where: init(url)';

function requireWebAssembly(): void {
  if (typeof WebAssembly !== 'object') {
    throw new TautlineError('wasm_unavailable', `this browser has no WebAssembly, or a policy forbids it: ${POLICY}`);
  }
}

const POLICY = 'allow \'wasm-unsafe-eval\' in script-src';

/** What a browser says of a module that it may not compile, each in its own words. */
const FORBIDDEN = /content security policy|unsafe-eval|\bCSP\b/i;

function unavailable(cause: unknown, where?: string): TautlineError {
  const why = cause instanceof Error ? cause.message : String(cause);
  const compile = cause instanceof WebAssembly.CompileError;
  if (FORBIDDEN.test(why)) return wasmUnavailable(`the page's Content-Security-Policy forbids it: ${POLICY} (${why})`, where, { cause, retryable: false });
  const advice = compile
    ? 'Those are not the bytes of tautline_bg.wasm, or not all of them: a server may give its index page, or a part, for a file that it does not have'
    : `${SERVED}. Under Node give its bytes to initSync()`;
  return wasmUnavailable(`${why}. ${advice}`, where, { cause, retryable: !compile });
}

function wasmUnavailable(text: string, where: string | undefined, fields: ErrorFields): TautlineError {
  return new TautlineError('wasm_unavailable', `tautline_bg.wasm could not be loaded${where === undefined ? '' : ` from ${where}`}: ${text}`, fields);
}
