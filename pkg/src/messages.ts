import type { Audience } from './audience.js';
import { TautlineError } from './errors.js';
import type { Glue, Handle } from './handle.js';
import { trap } from './trap.js';
import { enter, leave, stackHere } from './twin.js';
import type { Message } from './types.js';

/** Options of `messages`. */
export interface MessagesOptions {
  /** Ends it: what is waited for rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** How many may wait to be taken. Default 1000. */
  limit?: number | undefined;
  /** What becomes of one more: the iterator ends with `overflow`, or the oldest goes. Default `throw`. */
  onOverflow?: 'throw' | 'drop-oldest' | undefined;
}

/** How it ended: quietly, or with an error. */
type End = { readonly error?: unknown };
type Result = IteratorResult<Message<never>, undefined>;

const DONE: Result = { done: true, value: undefined };

/** What is left of an iterator that was forgotten before its end. */
interface Left {
  readonly weak: WeakRef<Line>;
  /** Takes it off what is not the service's. */
  readonly tidy: () => void;
  readonly madeAt: string;
}

let forgotten: FinalizationRegistry<Left> | undefined;

function collected({ weak, tidy, madeAt }: Left): void {
  const line = weak.deref();
  // Together with its service: that is reported.
  if (!line) return tidy();
  console.warn(`tautline: messages() was forgotten before its end; it is ended now. Leave its loop, or call return(). It was begun at\n${madeAt}`);
  line.end({});
}

/** What has come and was not taken, or who waits for what has not come. Known to the service, which does not know the iterator. */
class Line {
  readonly #limit: number;
  readonly #dropsOldest: boolean;
  readonly #waiting: { readonly resolve: (result: Result) => void; readonly reject: (error: unknown) => void; readonly iterator: Messages }[] = [];
  #came: Message<never>[] = [];
  #end: End | undefined;
  /** Takes it off everything it is on. */
  #leave = (): void => {};

  constructor(limit: number, dropsOldest: boolean) {
    this.#limit = limit;
    this.#dropsOldest = dropsOldest;
  }

  get ended(): boolean {
    return this.#end !== undefined;
  }

  begin(leaves: () => void): void {
    this.#leave = leaves;
  }

  came(message: Message<never>): void {
    const first = this.#waiting.shift();
    if (first) return first.resolve({ done: false, value: message });
    this.#came.push(message);
    if (this.#came.length <= this.#limit) return;
    if (this.#dropsOldest) this.#came.shift();
    else this.end({ error: new TautlineError('overflow', `messages(): over ${this.#limit} came and were not taken; take them faster, raise limit, or let onOverflow be 'drop-oldest'`) });
  }

  /** The iterator is held as long as it waits: nothing else may hold a loop that does nothing but wait. */
  next(iterator: Messages): Promise<Result> {
    const first = this.#came.shift();
    if (first) return Promise.resolve({ done: false, value: first });
    const end = this.#end;
    if (!end) return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject, iterator }));
    // An error is told once; after it there is nothing more.
    this.#end = {};
    return 'error' in end ? Promise.reject(end.error) : Promise.resolve(DONE);
  }

  /** What has come already is let go too, where it ends with an error or because the iterator is done with. */
  end(end: End, drops = 'error' in end): void {
    if (this.#end) return;
    this.#end = end;
    if (drops) this.#came = [];
    this.#leave();
    const [first, ...others] = this.#waiting.splice(0);
    if (!first) return;
    this.#end = {};
    if ('error' in end) first.reject(end.error);
    else first.resolve(DONE);
    for (const { resolve } of others) resolve(DONE);
  }
}

/** What ends the line, as long as there is one. By itself: functions that are made in one place keep what any of them uses. */
function ending(weak: WeakRef<Line>, why: () => unknown): () => void {
  return () => weak.deref()?.end({ error: why() });
}

function reasonOf(signal: AbortSignal | undefined): () => unknown {
  return () => signal?.reason;
}

/** Takes it off the ledger and its signal. */
function tidying(entry: number, signal: AbortSignal | undefined, abort: () => void): () => void {
  return () => {
    signal?.removeEventListener('abort', abort);
    leave(entry);
  };
}

/** Only the service leads to the line: whatever else did would keep it, and with it a loop that waits. */
function begun(line: Line, handle: Handle<Glue>, audience: Audience, pattern: string, signal: AbortSignal | undefined): Left | undefined {
  if (signal?.aborted) line.end({ error: signal.reason });
  else if (!handle.live) line.end({});
  if (line.ended) return;
  const weak = new WeakRef(line);
  const abort = ending(weak, reasonOf(signal));
  const tidy = tidying(enter('iterator', handle.name, ending(weak, trap)), signal, abort);
  const offs = [audience.subscribe(pattern, (_, message: Message<never>) => line.came(message)), handle.onEnd((error) => line.end(error ? { error } : {}))];
  signal?.addEventListener('abort', abort);
  line.begin(() => {
    forgotten?.unregister(weak);
    for (const off of offs) off();
    tidy();
  });
  return { weak, tidy, madeAt: stackHere() };
}

/** Messages as they come, each once, however long one takes: what `messages` gives. */
export class Messages implements AsyncIterableIterator<Message<never>> {
  readonly #line: Line;
  #begin: (() => Left | undefined) | undefined;

  /** @internal */
  constructor(handle: Handle<Glue>, audience: Audience, pattern: string, { signal, limit = 1_000, onOverflow }: MessagesOptions) {
    this.#line = new Line(limit, onOverflow === 'drop-oldest');
    this.#begin = begun.bind(undefined, this.#line, handle, audience, pattern, signal);
  }

  next(): Promise<Result> {
    const left = this.#begin?.();
    this.#begin = undefined;
    if (left) {
      forgotten ??= new FinalizationRegistry(collected);
      forgotten.register(this, left, left.weak);
    }
    return this.#line.next(this);
  }

  /** Ends it: what a loop calls that is left early. */
  return(): Promise<Result> {
    this.#begin = undefined;
    this.#line.end({}, true);
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
