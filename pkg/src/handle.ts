import { TautlineError } from './errors.js';
import { entering, trap, untilTrap } from './trap.js';
import { COPY, type ManagedObject, ledger } from './twin.js';
import type { Priority } from './types.js';

/** What every object of the module has. */
export interface Glue {
  dispose(): void;
  free(): void;
}

let loaded = false;

/** @internal The loader says that the module can be used. */
export function setLoaded(): void {
  loaded = true;
}

/** @internal Whether the module can be used. */
export function isLoaded(): boolean {
  return loaded;
}

/** Server-side rendering: there the objects are inert, and nothing needs WebAssembly. */
export function onServer(): boolean {
  const scope = globalThis as { document?: unknown; WorkerGlobalScope?: unknown };
  return scope.document === undefined && scope.WorkerGlobalScope === undefined;
}

/**
 * An object of the module, held for an object of the page's. It knows in which of five states that is (live, inert
 * on a server, disposed, dead after a trap; never loaded throws in the constructor), so that every method says only
 * what it does when live and whether it asks, acts or cleans up.
 */
export class Handle<G extends Glue> implements ManagedObject {
  readonly copy = COPY;
  readonly name: string;
  readonly priority: Priority;
  readonly #id: number | undefined;
  readonly #onTrap: (error: TautlineError) => boolean;
  readonly #shutdown: () => void;
  #glue: G | undefined;
  #disposed = false;

  /**
   * @param make makes the module's object; not called on a server.
   * @param shutdown what `shutdownAll()` calls: the public object's `dispose`.
   * @param onTrap called once if the module traps; answers whether the page heard of it.
   */
  constructor(name: string, priority: Priority, make: () => G, shutdown: () => void, onTrap: (error: TautlineError) => boolean = () => false) {
    this.name = name;
    this.priority = priority;
    this.#shutdown = shutdown;
    this.#onTrap = onTrap;
    const dead = trap();
    if (dead) throw dead;
    if (!loaded) {
      if (onServer()) return;
      throw notInitialized(`new ${name}()`);
    }
    this.#glue = entering(make);
    const book = ledger();
    this.#id = book.nextId++;
    book.objects.set(this.#id, new WeakRef<ManagedObject>(this));
  }

  /** Whether there is an object of the module behind it. */
  get live(): boolean {
    return this.#glue !== undefined && !trap();
  }

  /** Whether the module under it has trapped. */
  get dead(): boolean {
    return this.#glue !== undefined && trap() !== undefined;
  }

  /** Acts: throws what keeps it from acting. */
  act<T>(call: (glue: G) => T): T {
    const glue = this.glue();
    return entering(() => call(glue));
  }

  /** Acts, answering later: rejects what keeps it from acting. */
  later<T>(call: (glue: G) => Promise<T>): Promise<T> {
    try {
      return untilTrap(this.act(call));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Asks: answers in every state. */
  ask<T>(call: (glue: G) => T, otherwise: T): T {
    const glue = this.#glue;
    return glue && !trap() ? entering(() => call(glue)) : otherwise;
  }

  /** Cleans up: does nothing where there is nothing to clean. */
  clean(call: (glue: G) => void): void {
    const glue = this.#glue;
    if (glue && !trap()) entering(() => call(glue));
  }

  /** The module's object, or what keeps it from acting. */
  glue(): G {
    const dead = trap();
    if (dead) throw dead;
    if (this.#glue) return this.#glue;
    throw this.#disposed
      ? new TautlineError('disposed', `this ${this.name} was disposed; make a new one`)
      : notInitialized(`this ${this.name}, which was made on a server or before init(),`);
  }

  /** Ends it, once. */
  dispose(): void {
    const glue = this.#glue;
    this.#disposed = true;
    if (!glue) return;
    if (this.#id !== undefined) ledger().objects.delete(this.#id);
    this.#glue = undefined;
    if (trap()) return;
    entering(() => glue.dispose());
    // Not now: this may be inside one of its callbacks, and the module still has it borrowed.
    queueMicrotask(() => {
      if (!trap()) entering(() => glue.free());
    });
  }

  /** @internal */
  shutdown(): void {
    this.#shutdown();
  }

  /** @internal */
  trapped(error: TautlineError): boolean {
    // Off the finaliser, without entering the module: it would free memory in a module that is dead.
    (this.#glue as { __destroy_into_raw?: () => number } | undefined)?.__destroy_into_raw?.();
    return this.#onTrap(error);
  }
}

function notInitialized(what: string): TautlineError {
  return new TautlineError(
    'not_initialized',
    `${what} needs the WebAssembly module: \`await init()\` (import init from 'tautline') first, or use createTautline(), which does`,
  );
}
