// The virtual clock: time stands still until the test moves it, from one timer to the next.

import { realPause, turn, type Tasks } from './turn.js';
import { replace } from './globals.js';

/** What the relay and its links are driven by. */
export interface Time {
  /** Milliseconds of a clock that only goes on. */
  now(): number;
  /** Milliseconds since 1970. */
  wall(): number;
  /** Calls back at that moment of `now()`; gives what cancels it. */
  at(when: number, run: () => void): () => void;
  /** Nobody is called back any more. */
  stop(): void;
}

/** The clock of a test. */
export interface TestClock {
  /** What `Date.now()` says by it. */
  now(): number;
  /**
   * Lets that much time pass, timer by timer; between two of them everything that waits is told, promises and
   * messages of the relay too. Without `ms` no time passes, and what is due happens. Throws with `clock: 'none'`.
   */
  advance(ms?: number): Promise<void>;
  /**
   * Lets time pass until the promise is settled, or the function answers something truthy; a function that throws is
   * asked again. Resolves with what it was. Rejects when that is not within `withinMs` of the clock, or nothing is left
   * to happen.
   */
  runUntil<T>(condition: PromiseLike<T>, options?: RunOptions): Promise<T>;
  /** The same with a function: what it answered at last. */
  runUntil<T>(condition: () => T, options?: RunOptions): Promise<Truthy<T>>;
}

/** Options of `runUntil`. */
export interface RunOptions {
  /** How much time may pass, ms. Default a minute, with `clock: 'none'` five real seconds. */
  withinMs?: number | undefined;
}

/** What is left of a type when it is truthy. */
export type Truthy<T> = Exclude<T, undefined | null | false | 0 | ''>;

interface Timer {
  readonly id: number;
  readonly run: () => void;
  readonly delay: number;
  at: number;
  /** Of an interval. */
  readonly every?: number;
}

type Callback = (...args: unknown[]) => unknown;

/** What is taken of the global scope. */
type Scope = Record<'setTimeout' | 'clearTimeout' | 'setInterval' | 'clearInterval', Callback> & {
  performance: { now(): number };
  requestAnimationFrame?: Callback;
  cancelAnimationFrame?: Callback;
};

type Condition<T> = PromiseLike<T> | (() => T);

const WITHIN_MS = 60_000;
const REAL_MS = 5_000;
/** Real time that something outside of the clock has to finish in, when nothing is left on it. */
const PATIENCE_MS = 250;
/** Turns without anything on its way after which nothing more comes. */
const QUIET = 3;
/** A frame of the screen. */
const FRAME_MS = 16;
/** Timers at one moment past which that moment will never end. */
const AT_ONCE = 10_000;
/** Ids of ours are told from those of the page's real timers. */
const FIRST_ID = 1_000_000_000;

/** @internal */
export class VirtualClock implements Time, TestClock {
  readonly #tasks: Tasks;
  readonly #began: number;
  readonly #told: () => string;
  #now = 0;
  #timers: Timer[] = [];
  #lastId = FIRST_ID;
  #undo: (() => void)[] = [];

  /** @param told what an error says of the world */
  constructor(began: number, tasks: Tasks, told: () => string) {
    this.#began = began;
    this.#tasks = tasks;
    this.#told = told;
  }

  now(): number {
    return this.#began + this.#now;
  }

  wall(): number {
    return this.now();
  }

  at(when: number, run: () => void): () => void {
    const { id } = this.#add(Math.max(when - this.now(), 0), run);
    return () => this.#clear(id);
  }

  advance(ms = 0): Promise<void> {
    if (!Number.isFinite(ms) || ms < 0) throw new RangeError(`clock.advance() takes milliseconds, a number of at least 0; got ${ms}`);
    return outsideAct(async () => {
      const end = this.#now + ms;
      for (await this.#settle(); await this.#step(end); );
      this.#now = Math.max(this.#now, end);
    });
  }

  runUntil<T>(condition: Condition<T>, { withinMs = WITHIN_MS }: RunOptions = {}): Promise<Truthy<T>> {
    return outsideAct(async () => {
      const look = watched(condition);
      const end = this.#now + withinMs;
      for (let patience = PATIENCE_MS; ; ) {
        await this.#settle();
        const seen = look();
        if (seen.done) return seen.value;
        if (await this.#step(end, false)) patience = PATIENCE_MS;
        else if (this.#timers.length > 0) throw this.#failed(`not within ${withinMs} ms of the virtual clock`, seen.error);
        else if (patience <= 0) throw this.#failed('nothing is left to happen on the virtual clock', seen.error);
        else {
          await realPause(1);
          patience -= 1;
        }
      }
    });
  }

  /** Takes the place of the page's timers and clocks. */
  install(): void {
    const scope = globalThis as unknown as Scope;
    // Called as what they are: a browser refuses its own functions as methods of something else.
    const { setTimeout: realTimeout, clearTimeout: realClear, setInterval: realInterval, clearInterval: realClearInterval } = scope;
    const probe = realTimeout(() => {});
    realClear(probe);
    const handle = typeof probe === 'object' ? (timer: Timer) => this.#asObject(timer) : ({ id }: Timer) => id;
    let installed = true;
    const timer = (repeats: boolean, fallback: Callback) => (run: Callback | undefined, ms?: number, ...args: unknown[]): unknown => {
      if (!installed) return fallback(run, ms, ...args);
      const delay = Math.max(Number(ms) || 0, 0);
      return handle(this.#add(delay, () => run?.(...args), repeats ? Math.max(delay, 1) : undefined));
    };
    const clear = (fallback: Callback) => (given?: unknown): unknown => {
      const id = Number(given);
      // One that was set before this clock was there.
      if (!(id > FIRST_ID)) return fallback(given);
      return this.#clear(id);
    };
    const base = Math.ceil(scope.performance.now()) - this.#now;
    const Real = Date;
    const now = () => Math.floor(this.wall());
    const VirtualDate: DateConstructor = new Proxy(Real, {
      construct: (target, args, self) => Reflect.construct(target, args.length > 0 ? args : [now()], self === VirtualDate ? target : self) as object,
      apply: () => new Real(now()).toString(),
      get: (target, name, self) => (name === 'now' ? now : Reflect.get(target, name, self)),
    });
    const named: [object, string, unknown][] = [
      [scope, 'setTimeout', timer(false, realTimeout)],
      [scope, 'setInterval', timer(true, realInterval)],
      [scope, 'clearTimeout', clear(realClear)],
      [scope, 'clearInterval', clear(realClearInterval)],
      [scope, 'Date', VirtualDate],
      [scope.performance, 'now', () => base + this.#now],
    ];
    const { requestAnimationFrame: realFrame, cancelAnimationFrame: realCancel } = scope;
    if (realFrame && realCancel) {
      const frame = (run: Callback) => (installed ? this.#add(FRAME_MS, () => run(scope.performance.now())).id : realFrame(run));
      named.push([scope, 'requestAnimationFrame', frame], [scope, 'cancelAnimationFrame', clear(realCancel)]);
    }
    this.#undo = named.map(([target, name, value]) => replace(target, name, value));
    this.#undo.push(() => void (installed = false));
  }

  /** Gives the page its own back, too. */
  stop(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
    this.#timers = [];
  }

  #add(ms: number, run: () => void, every?: number): Timer {
    const timer: Timer = { id: ++this.#lastId, run, delay: ms, at: this.#now + ms, ...(every === undefined ? {} : { every }) };
    this.#put(timer);
    return timer;
  }

  #put(timer: Timer): void {
    const before = this.#timers.findIndex(({ at }) => at > timer.at);
    this.#timers.splice(before < 0 ? this.#timers.length : before, 0, timer);
  }

  #clear(id: number): void {
    this.#timers = this.#timers.filter((timer) => timer.id !== id);
  }

  /** As Node gives it: a page's libraries call `unref()` on what they get. */
  #asObject(timer: Timer): object {
    const handle = {
      ref: () => handle,
      unref: () => handle,
      hasRef: () => true,
      refresh: () => {
        this.#clear(timer.id);
        this.#put(Object.assign(timer, { at: this.#now + timer.delay }));
        return handle;
      },
      close: () => this.#clear(timer.id),
      [Symbol.toPrimitive]: () => timer.id,
    };
    return handle;
  }

  #atOnce = 0;

  /** Fires the next timer up to a moment, and tells everybody; whether there was one. */
  async #step(end: number, settle = true): Promise<boolean> {
    const next = this.#timers[0];
    if (!next || next.at > end) return false;
    this.#timers.shift();
    this.#atOnce = next.at > this.#now ? 0 : this.#atOnce + 1;
    if (this.#atOnce > AT_ONCE) throw this.#failed(`${AT_ONCE} timers at one moment of the virtual clock: one sets itself again without a delay`);
    this.#now = Math.max(this.#now, next.at);
    if (next.every !== undefined) this.#put(Object.assign(next, { at: this.#now + next.every }));
    next.run();
    if (settle) await this.#settle();
    return true;
  }

  async #settle(): Promise<void> {
    for (let quiet = 0; quiet < QUIET; quiet = this.#tasks.idle ? quiet + 1 : 0) await turn();
  }

  #failed(what: string, cause?: unknown): Error {
    return new Error(`tautline/testing: ${what} (${this.#told()})`, cause === undefined ? undefined : { cause });
  }
}

/** @internal The page's own timers, real or faked by the test's framework: asked for anew each time. */
export class PageClock implements Time, TestClock {
  readonly #told: () => string;
  readonly #waiting = new Set<() => void>();

  constructor(told: () => string) {
    this.#told = told;
  }

  now(): number {
    return performance.now();
  }

  wall(): number {
    return Date.now();
  }

  at(when: number, run: () => void): () => void {
    const ring = () => {
      this.#waiting.delete(cancel);
      run();
    };
    const timer = setTimeout(ring, Math.max(Math.ceil(when - this.now()), 0));
    const cancel = () => {
      this.#waiting.delete(cancel);
      clearTimeout(timer);
    };
    this.#waiting.add(cancel);
    return cancel;
  }

  stop(): void {
    for (const cancel of [...this.#waiting]) cancel();
  }

  advance(): Promise<void> {
    throw new Error("tautline/testing: with clock: 'none' time is not this clock's to move; use what moves yours, such as vi.advanceTimersByTimeAsync()");
  }

  runUntil<T>(condition: Condition<T>, { withinMs = REAL_MS }: RunOptions = {}): Promise<Truthy<T>> {
    return outsideAct(async () => {
      const look = watched(condition);
      for (let left = withinMs; ; left -= 1) {
        await turn();
        const seen = look();
        if (seen.done) return seen.value;
        if (left <= 0) throw new Error(`tautline/testing: not within ${withinMs} ms (${this.#told()})`, { cause: seen.error });
        await realPause(1);
      }
    });
  }
}

type Seen<T> = { readonly done: true; readonly value: Truthy<T> } | { readonly done: false; readonly error?: unknown };

/** A function that says how far a condition is. */
function watched<T>(condition: Condition<T>): () => Seen<T> {
  if (typeof condition === 'function') {
    return () => {
      try {
        const value = condition();
        return value ? { done: true, value: value as Truthy<T> } : { done: false };
      } catch (error) {
        return { done: false, error };
      }
    };
  }
  let settled: { value: Truthy<T> } | { error: unknown } | undefined;
  // Of a promise whatever it is.
  condition.then((value) => (settled = { value: value as Truthy<T> }), (error: unknown) => (settled = { error }));
  return () => {
    if (!settled) return { done: false };
    if ('error' in settled) throw settled.error;
    return { done: true, value: settled.value };
  };
}

/** What happens meanwhile is no act of the test's: React renders it in its own time, as in a page, and does not warn. */
async function outsideAct<T>(run: () => Promise<T>): Promise<T> {
  const scope = globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean };
  if (!scope.IS_REACT_ACT_ENVIRONMENT) return run();
  scope.IS_REACT_ACT_ENVIRONMENT = false;
  try {
    return await run();
  } finally {
    scope.IS_REACT_ACT_ENVIRONMENT = true;
  }
}
