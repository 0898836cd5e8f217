// Tasks of the real event loop, whatever has become of the timers since: taken when this module is loaded.

interface Loop {
  setImmediate?: (run: () => void) => unknown;
  MessageChannel?: typeof MessageChannel;
}

const { setImmediate: immediate, MessageChannel: Channel } = globalThis as Loop;
const later = globalThis.setTimeout;
let channel: MessageChannel | undefined;
const waiting: (() => void)[] = [];

function post(run: () => void): void {
  if (immediate) return void immediate(run);
  if (!Channel) return void later(run);
  if (!channel) {
    channel = new Channel();
    channel.port1.onmessage = () => waiting.shift()?.();
  }
  waiting.push(run);
  channel.port2.postMessage(0);
}

/** Resolves in a later task: whatever was resolved before has been told by then. */
export function turn(): Promise<void> {
  return new Promise(post);
}

/** Real milliseconds. */
export function realPause(ms: number): Promise<void> {
  return new Promise((resolve) => void later(resolve, ms));
}

/** What happens one task after the other, in order, as a browser delivers events. */
export class Tasks {
  readonly #post: (run: () => void) => void;
  #queue: (() => void)[] = [];
  #posted = false;

  /** @param how hands over to the next task: of the real event loop, unless something else is said */
  constructor(how = post) {
    this.#post = how;
  }

  /** Whether nothing waits. */
  get idle(): boolean {
    return this.#queue.length === 0;
  }

  post(run: () => void): void {
    this.#queue.push(run);
    this.#next();
  }

  /** Everything at once: whoever waits for it has no more turns to give. */
  flush(): void {
    for (let run = this.#queue.shift(); run; run = this.#queue.shift()) run();
  }

  #next(): void {
    if (this.#posted || this.idle) return;
    this.#posted = true;
    this.#post(() => {
      this.#posted = false;
      const run = this.#queue.shift();
      this.#next();
      run?.();
    });
  }
}
