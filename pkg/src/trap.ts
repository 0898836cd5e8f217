// What is left of the package when the module has trapped (a panic, memory run out): nothing live, no promise
// pending, and an error for every later call. WebAssembly is never entered again.

import { TautlineError } from './errors.js';
import { COPY, ledger, releaseAll } from './twin.js';

let dead: TautlineError | undefined;
/** Keeps the functions the dead module made from being collected, which would run their destructors in it. */
let kept: readonly (() => void)[] = [];
const pending = new Set<(error: TautlineError) => void>();

/** The error every call gets after a trap; `undefined` while the module is well. */
export function trap(): TautlineError | undefined {
  return dead;
}

/**
 * The module has trapped: lets go of everything and says so to every object and promise. Called by the module's
 * panic hook, just before the trap, and by whoever catches one.
 */
export function trapped(message: string, cause?: unknown): TautlineError {
  if (dead) return dead;
  const error = new TautlineError('internal', `${message}; everything it held was let go. Reload the page.`, { cause });
  dead = error;
  kept = [...kept, ...releaseAll()];
  // Not now: the module is in the middle of a turn, and the page's code expects to be called between turns.
  queueMicrotask(() => {
    for (const reject of [...pending]) reject(error);
    pending.clear();
    const objects = [...ledger().objects.values()].map((ref) => ref.deref());
    const heard = objects.map((object) => object?.copy === COPY && object.trapped(error));
    if (!heard.includes(true)) console.error(error);
  });
  return error;
}

/** Calls into the module; a trap that comes back out of it is told to everybody. */
export function entering<T>(call: () => T): T {
  if (dead) throw dead;
  try {
    return call();
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) throw trapped('the module trapped', error);
    throw error;
  }
}

/** The module's promise, rejected `internal` if it traps first: a dead module settles nothing. */
export function untilTrap<T>(promise: Promise<T>): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    pending.add(reject);
    promise.then(
      (value) => {
        pending.delete(reject);
        resolve(value);
      },
      (error: unknown) => {
        pending.delete(reject);
        reject(error);
      },
    );
  });
}
