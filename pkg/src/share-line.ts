// A page's line to the SharedWorker, and its places there. Where the worker does not start, or stops answering, the page shares by locks.

import { Alarm, Lock } from './share-held.js';
import { Place } from './share-place.js';
import type { FromHub, ToHub } from './share-reign.js';
import type { FromWorker, ToWorker } from './share-worker.js';
import { enter, leave } from './twin.js';
import type { Role } from './types.js';

/** Between looks whether the worker runs, and so many without an answer when it does not: more, until it has begun. */
const LOOK_MS = 1_000;
const MISSED_MAX = 3;
const BEGINS_MAX = 10;

let line: Line | undefined;
let failed = false;
/** What the tabs of a place were sent last, by a worker that is dead. */
const left = new Map<string, readonly string[]>();

/** A place at the worker; `undefined` where there is none. */
export function placeAtWorker(name: string, url: string, protocols: readonly string[], gone: () => void): Place | undefined {
  if (failed || typeof SharedWorker !== 'function') return undefined;
  try {
    line ??= new Line();
  } catch {
    // A policy, or an address that no script can have.
    failed = true;
    return undefined;
  }
  return new AtWorker(line, name, url, protocols, gone);
}

/** One for the page, as long as it has a place there. */
class Line {
  readonly #worker = new SharedWorker(new URL('./share-worker.js', import.meta.url), { type: 'module' });
  readonly #entry = enter('worker', 'share', () => this.#close());
  readonly #places = new Map<string, AtWorker>();
  readonly #look = new Alarm('share look');
  /** The lock that the worker lives by is granted when it is dead: it shares a process with one of the pages. */
  #life: Lock | undefined;
  #missed = 0;

  constructor() {
    this.#worker.onerror = () => this.#fail();
    this.#worker.port.onmessage = ({ data }) => this.#heard(data as FromWorker);
    this.#lookOut();
  }

  add(page: string, place: AtWorker): void {
    this.#places.set(page, place);
  }

  remove(page: string): void {
    if (!this.#places.delete(page) || this.#places.size > 0) return;
    if (line === this) line = undefined;
    this.#look.clear();
    this.#life?.end();
    leave(this.#entry);
    this.#close();
  }

  post(message: ToWorker): void {
    this.#worker.port.postMessage(message);
  }

  #heard(said: FromWorker): void {
    this.#missed = 0;
    if (said.is === 'here') {
      this.#life ??= new Lock(said.life, false, () => this.#dead(), () => {});
      return;
    }
    const place = this.#places.get(said.page);
    if (said.is === 'lead') place?.lead();
    else place?.told(said.message);
  }

  #lookOut(): void {
    this.post({ is: 'look' });
    this.#look.set(LOOK_MS, () => {
      this.#missed += 1;
      if (this.#missed > (this.#life ? MISSED_MAX : BEGINS_MAX)) this.#fail();
      else this.#lookOut();
    });
  }

  /** All come back, to another worker. */
  #dead(): void {
    for (const place of [...this.#places.values()]) place.outlive();
  }

  /** It is not there, or does not run: all go on another way. */
  #fail(): void {
    failed = true;
    for (const place of [...this.#places.values()]) place.end();
  }

  #close(): void {
    this.#worker.onerror = null;
    this.#worker.port.close();
  }
}

class AtWorker extends Place {
  readonly #line: Line;
  readonly #name: string;
  readonly #url: string;
  readonly #protocols: readonly string[];
  #leads = false;

  constructor(to: Line, name: string, url: string, protocols: readonly string[], gone: () => void) {
    super(name, gone);
    this.#line = to;
    this.#name = name;
    this.#url = url;
    this.#protocols = protocols;
    to.add(this.page, this);
  }

  override get role(): Role {
    return this.#leads ? 'leader' : 'follower';
  }

  /** The worker's is the only one. */
  protected override get hub(): string {
    return 'worker';
  }

  /** It is first among the pages. */
  lead(): void {
    this.#leads = true;
    for (const { sharer, at } of this.ports.values()) if (at !== undefined) sharer.role('leader');
  }

  /** The worker is dead. */
  outlive(): void {
    const [first] = this.ports.values();
    if (first) left.set(this.#name, first.sharer.trail);
    this.end();
  }

  told(message: FromHub): void {
    this.took(message);
  }

  protected override begin(): void {
    const trail = left.get(this.#name) ?? [];
    left.delete(this.#name);
    this.#line.post({ is: 'enter', name: this.#name, page: this.page, url: this.#url, protocols: this.#protocols, trail });
    this.place();
  }

  protected override seek(): void {}

  protected override toHub(message: ToHub): void {
    this.#line.post({ is: 'hub', name: this.#name, page: this.page, message });
  }

  protected override close(): void {
    if (this.alive) this.#line.post({ is: 'exit', name: this.#name, page: this.page });
    this.#line.remove(this.page);
  }
}
