import { Emitter, type Listener, type Owner } from './emitter.js';
import { TautlineError } from './errors.js';
import { type Remains, abandon, unwatch, watchFor } from './forgotten.js';
import { entering, trap, untilTrap } from './trap.js';
import { COPY, type ManagedObject, ledger, stackHere } from './twin.js';
import type { Priority } from './types.js';

/** What every object of the module has. */
export interface Glue {
  dispose(): void;
  free(): void;
}

/** Lends a function to the module: it is called as long as the object is there, and keeps neither it nor the page. */
export type Lend = <A, B, R>(lent: (one: A, two: B) => R) => (one: A, two: B) => R | undefined;

/** What an object is, beside its name. */
export interface Kind {
  readonly priority: Priority;
  /** The event that tells its state, and the states in which nothing comes of it any more by itself. */
  readonly life?: { readonly event: string; readonly rests: readonly string[] };
  /** What it was made on. */
  readonly under?: Handle<Glue>;
  /** What ends with it; it does not lead back here. */
  readonly also?: { end(): void } | undefined;
  /** Hears when listeners came or went. */
  readonly changed?: () => void;
  /** What `shutdownAll()` calls: the public object's `dispose`. */
  readonly shutdown: () => void;
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

/** Objects at work for somebody who listens: those the collector lets be, as it does a socket with a listener. */
const working = new Set<Handle<Glue>>();

/**
 * An object of the module, held for an object of the page's. It knows in which of five states that is (live, inert
 * on a server, disposed, dead after a trap; never loaded throws in the constructor), so that every method says only
 * what it does when live and whether it asks, acts or cleans up. And it has whoever listens: what the module holds
 * leads to them only as long as something else does, so that an object and its own listeners can be forgotten together.
 */
export class Handle<G extends Glue> implements ManagedObject {
  readonly copy = COPY;
  readonly name: string;
  /** Who listens to its events. */
  readonly events: Emitter;
  readonly #kind: Kind;
  readonly #remains: Remains | undefined;
  readonly #emitters: Emitter[] = [];
  /** Those made on this one that somebody listens to. */
  readonly #heard = new Set<Handle<Glue>>();
  /** Who is told that it has ended. */
  readonly #ends = new Set<(error?: TautlineError) => void>();
  #lent: unknown[] = [];
  #glue: G | undefined;
  #disposed = false;
  #rests = true;

  /** @param make makes the module's object; not called on a server. */
  constructor(name: string, kind: Kind, make: (lend: Lend) => G) {
    this.name = name;
    this.#kind = kind;
    this.events = this.emitter();
    const dead = trap();
    if (dead) throw dead;
    if (!loaded) {
      if (onServer()) return;
      throw notInitialized(`new ${name}()`);
    }
    const glue = entering(() => make((lent) => this.#lend(lent)));
    const book = ledger();
    const id = book.nextId++;
    this.#glue = glue;
    this.#remains = { id, name, glue, madeAt: stackHere(), also: kind.also, under: kind.under && new WeakRef(kind.under) };
    book.objects.set(id, new WeakRef<ManagedObject>(this));
    watchFor(this, this.#remains);
  }

  get priority(): Priority {
    return this.#kind.priority;
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

  /** An emitter of this object's. */
  emitter(): Emitter {
    const owner: Owner = {
      named: () => (this.#remains ? `${this.name} made at\n${this.#remains.madeAt}\n` : this.name),
      failed: (cause, event) => this.#failed(cause, event),
      warn: (text) => console.warn(text),
      full: (message) => new TautlineError('overflow', message),
      changed: () => {
        this.#kind.changed?.();
        this.#keep();
      },
    };
    const emitter = new Emitter(owner);
    this.#emitters.push(emitter);
    return emitter;
  }

  /** Listens, while there is something to hear: the function returned ends it. */
  listen(event: string, listener: Listener, once: boolean): () => void {
    return this.live ? this.events.add(event, listener, once) : () => {};
  }

  /** Calls back when it has ended, with the error if the module trapped; the function returned ends that. */
  onEnd(told: (error?: TautlineError) => void): () => void {
    this.#ends.add(told);
    return () => void this.#ends.delete(told);
  }

  /** Tells an event of the module's; an error that nobody hears goes to the console. */
  tell(event: string, value: unknown): void {
    const { life } = this.#kind;
    if (life?.event === event) {
      this.#rests = life.rests.includes(value as string);
      this.#keep();
    }
    if (!this.events.emit(event, value) && event === 'error') console.error(value);
  }

  /** Ends it, once. */
  dispose(): void {
    const glue = this.#glue;
    this.#disposed = true;
    if (!glue || !this.#remains) return;
    this.#glue = undefined;
    unwatch(this, this.#remains);
    if (!trap()) {
      entering(() => glue.dispose());
      // Not now: this may be inside one of its callbacks, and the module still has it borrowed.
      queueMicrotask(() => {
        if (!trap()) entering(() => glue.free());
      });
    }
    this.#kind.also?.end();
    this.#silence();
  }

  /** @internal */
  shutdown(): void {
    this.#kind.shutdown();
  }

  /** @internal */
  trapped(error: TautlineError): boolean {
    if (this.#remains) abandon(this.#remains);
    const { life, also } = this.#kind;
    also?.end();
    if (life) this.events.emit(life.event, 'error');
    const heard = this.events.emit('error', error);
    this.#silence(error);
    return heard;
  }

  /** Nobody is called any more, here or by what was made on it. */
  #silence(error?: TautlineError): void {
    this.#rests = true;
    this.#lent = [];
    for (const told of [...this.#ends]) told(error);
    for (const other of [...this.#heard]) other.#silence(error);
    for (const emitter of this.#emitters) emitter.clear();
  }

  /** Works for somebody, or not any more. */
  #keep(): void {
    const heard = this.#heard.size > 0 || this.#emitters.some((emitter) => !emitter.silent);
    const { under } = this.#kind;
    if (under) {
      change(under.#heard, this, heard);
      under.#keep();
    } else {
      change(working, this, heard && !this.#rests);
    }
  }

  /** What the module is handed in place of a function: nothing that it holds leads back here. */
  #lend<A, B, R>(lent: (one: A, two: B) => R): (one: A, two: B) => R | undefined {
    this.#lent.push(lent);
    const weak = new WeakRef(lent);
    // By name, not gathered and spread again: this is on the way of every event.
    return (one, two) => weak.deref()?.(one, two);
  }

  /** A listener failed. Told to those of `error`, unless it was one of them: that would not end. */
  #failed(cause: unknown, event: string): void {
    const dead = trap();
    if (dead && cause === dead) return;
    const error = new TautlineError('callback', 'a callback failed; its error is the cause', { cause });
    const { events } = this.#kind.under ?? this;
    if (event === 'error' || !events.emit('error', error)) console.error(error);
  }
}

function change<T>(set: Set<T>, member: T, isIn: boolean): void {
  if (isIn) set.add(member);
  else set.delete(member);
}

function notInitialized(what: string): TautlineError {
  return new TautlineError(
    'not_initialized',
    `${what} needs the WebAssembly module: \`await init()\` (import init from 'tautline') first, or use createTautline(), which does`,
  );
}
