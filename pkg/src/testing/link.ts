// What lies between a page's socket and the relay: two lanes in order, each as late as it is told to be, or dead.

import type { Time } from './clock.js';
import type { Tasks } from './turn.js';

/** The page's end. */
export interface PageEnd {
  opened(protocol: string): void;
  message(text: string): void;
  closed(code: number, reason: string, wasClean: boolean): void;
}

/** The relay's end. */
export interface RelayEnd {
  /** Whether a new connection is let in. */
  admits(): boolean;
  /** Whether nothing passes, of new connections. */
  swallows(): boolean;
  /** How long a message is on its way now, ms. */
  latency(): number;
  opened(link: Link): void;
  text(link: Link, text: string): void;
  binary(link: Link): void;
  pong(link: Link): void;
  closed(link: Link): void;
  /** The page has been told its end. */
  over(link: Link): void;
}

/** How long a browser waits for the other side's close frame. */
const CLOSE_WAIT_MS = 2_000;
/** What a page is told when no close frame came. */
const FALLEN = { code: 1006, reason: '' };

class Lane {
  readonly #time: Time;
  readonly #tasks: Tasks;
  #queue: { readonly at: number; readonly run: () => void }[] = [];
  #armed = false;

  constructor(time: Time, tasks: Tasks) {
    this.#time = time;
    this.#tasks = tasks;
  }

  send(latency: number, run: () => void): void {
    const at = Math.max(this.#time.now() + latency, this.#queue.at(-1)?.at ?? 0);
    this.#queue.push({ at, run });
    if (!this.#armed) this.#arm();
  }

  drop(): void {
    this.#queue = [];
  }

  #arm(): void {
    const [first] = this.#queue;
    if (!first) return;
    this.#armed = true;
    if (first.at <= this.#time.now()) this.#tasks.post(() => this.#next());
    else this.#time.at(first.at, () => this.#next());
  }

  #next(): void {
    this.#armed = false;
    const first = this.#queue.shift();
    this.#arm();
    first?.run();
  }
}

/** One connection. */
export class Link {
  readonly id: number;
  /** Whether the page offered `tautline.v1` as a subprotocol. */
  readonly v1: boolean;
  readonly #page: PageEnd;
  readonly #relay: RelayEnd;
  readonly #time: Time;
  readonly #tasks: Tasks;
  readonly #up: Lane;
  readonly #down: Lane;
  #open = false;
  #over = false;
  #silent = false;
  /** The page's close frame. */
  #closing: { readonly code: number; readonly reason: string } | undefined;

  constructor(id: number, v1: boolean, page: PageEnd, relay: RelayEnd, time: Time, tasks: Tasks) {
    [this.id, this.v1, this.#page, this.#relay, this.#time, this.#tasks] = [id, v1, page, relay, time, tasks];
    this.#up = new Lane(time, tasks);
    this.#down = new Lane(time, tasks);
    this.#silent = relay.swallows();
    if (!this.#silent) this.#up.send(relay.latency(), () => this.#dial());
  }

  /** A message of the page's; `gone` is called when it has left the page. */
  send(data: unknown, gone: () => void): void {
    this.#rise(() => {
      gone();
      if (typeof data === 'string') this.#relay.text(this, data);
      else this.#relay.binary(this);
    });
    if (this.#silent) this.#tasks.post(gone);
  }

  /** The page closes. */
  close(code: number, reason: string): void {
    this.#closing = this.#open ? { code, reason } : FALLEN;
    // Nobody to say it to: the attempt fails.
    if (!this.#open) return this.#fail();
    if (this.#silent) this.#giveUp();
    this.#rise(() => {
      this.#relay.closed(this);
      this.#fall(() => this.#end(code, reason, true));
    });
  }

  /** A message of the relay's. */
  deliver(text: string): void {
    this.#fall(() => this.#page.message(text));
  }

  /** A WebSocket ping of the relay's: the browser answers it, not the page. */
  ping(): void {
    this.#fall(() => this.#rise(() => this.#relay.pong(this)));
  }

  /** The relay closes. */
  hangUp(code: number, reason: string): void {
    this.#fall(() => {
      this.#end(code, reason, true);
      this.#relay.closed(this);
    });
  }

  /** It falls, for both. */
  cut(): void {
    if (this.#silent) this.#relay.closed(this);
    else this.#fail();
  }

  /** Nothing passes any more, and neither side is told. */
  silence(): void {
    this.#silent = true;
    this.#up.drop();
    this.#down.drop();
    if (this.#closing) this.#giveUp();
  }

  /** The page's side ends at once: as it asked for, or as if cut. */
  finish(): void {
    if (this.#over) return;
    this.#up.drop();
    this.#down.drop();
    this.#relay.closed(this);
    const { code, reason } = this.#closing ?? FALLEN;
    this.#end(code, reason, code !== FALLEN.code);
  }

  /** Whether the page has asked for its end. */
  get closing(): boolean {
    return this.#closing !== undefined;
  }

  #dial(): void {
    if (!this.#relay.admits()) return this.#fall(() => this.#end(FALLEN.code, FALLEN.reason, false));
    this.#relay.opened(this);
  }

  /** The relay has let it in. */
  opened(protocol: string): void {
    this.#fall(() => {
      this.#open = true;
      this.#page.opened(protocol);
    });
  }

  #fail(): void {
    this.#up.drop();
    this.#down.drop();
    this.#relay.closed(this);
    this.#tasks.post(() => this.#end(FALLEN.code, FALLEN.reason, false));
  }

  #giveUp(): void {
    this.#time.at(this.#time.now() + CLOSE_WAIT_MS, () => this.#end(FALLEN.code, FALLEN.reason, false));
  }

  #rise(run: () => void): void {
    if (!this.#silent && !this.#over) this.#up.send(this.#relay.latency(), run);
  }

  #fall(run: () => void): void {
    if (!this.#silent && !this.#over) this.#down.send(this.#relay.latency(), () => (this.#over ? undefined : run()));
  }

  #end(code: number, reason: string, wasClean: boolean): void {
    if (this.#over) return;
    this.#over = true;
    this.#relay.over(this);
    this.#page.closed(code, reason, wasClean);
  }
}
