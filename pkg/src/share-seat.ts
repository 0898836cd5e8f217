// A place without a worker: one of the pages holds a lock, and with it the hub; the others speak to it. When the holder dies the lock
// passes on by itself; when it is frozen, it is stolen.

import { Alarm, Channel, listen, Lock } from './share-held.js';
import { seen } from './share-log.js';
import { Place } from './share-place.js';
import { type FromHub, Reign, type ToHub } from './share-reign.js';
import type { Role } from './types.js';

/** Between looks at the leader while this page is to be seen, and while browsers hold its timers back. */
const LOOK_MS = 250;
const LOOK_HIDDEN_MS = 1_000;
/** So many looks without an answer, and the leader is frozen. */
const MISSED_MAX = 3;
/** Those who notice at the same time are not to rob each other. */
const STEAL_SPREAD_MS = 100;

/** Who leads, and since when: what an earlier reign still says is not heard. */
interface Leader {
  readonly page: string;
  readonly reign: string;
}

/** What is said to all. */
type Public = { readonly is: 'who'; readonly from: string } | ({ readonly is: 'lead' } & Leader);
/** What is said to one page. */
type Private = { readonly from: string; readonly reign: string } & (ToHub | FromHub | { readonly is: 'lead' | 'look' | 'here' });

/** See the module. */
export class Seat extends Place {
  readonly #name: string;
  readonly #url: string;
  readonly #protocols: readonly string[];
  readonly #everybody: Channel;
  readonly #own: Channel;
  readonly #mailboxes = new Map<string, Channel>();
  readonly #watched = new Map<string, Lock>();
  readonly #look = new Alarm('share look');
  readonly #stealing = new Alarm('share steal');
  #unlisten = () => {};
  #claim: Lock;
  #leader: Leader | undefined;
  #reign: { readonly id: string; readonly run: Reign } | undefined;
  #missed = 0;
  #reigns = 0;

  constructor(name: string, url: string, protocols: readonly string[], gone: () => void) {
    super(name, gone);
    this.#name = name;
    this.#url = url;
    this.#protocols = protocols;
    this.#everybody = new Channel(name, (message) => this.#public(message as Public));
    this.#own = new Channel(`${name}:${this.page}`, (message) => this.#private(message as Private));
    this.#claim = this.#claimed(false);
    // A frozen page holds on to its locks.
    if (typeof document === 'object') this.#unlisten = listen(document, 'freeze', () => this.#yield());
  }

  override get role(): Role {
    return this.#reign ? 'leader' : 'follower';
  }

  protected override get hub(): string | undefined {
    return this.#reign?.id ?? this.#leader?.reign;
  }

  protected override begin(): void {
    this.place();
    this.#lookOut();
  }

  protected override seek(): void {
    this.#everybody.post({ is: 'who', from: this.page } satisfies Public);
  }

  protected override toHub(message: ToHub): void {
    if (this.#reign) this.#reign.run.from(this.page, message);
    else if (this.#leader) this.#send(this.#leader.page, { ...message, from: this.page, reign: this.#leader.reign });
  }

  protected override close(): void {
    this.#unlisten();
    for (const alarm of [this.#look, this.#stealing]) alarm.clear();
    this.#abdicate();
    this.#everybody.end();
    this.#own.end();
    this.#claim.end();
  }

  #claimed(steal: boolean): Lock {
    const claim: Lock = new Lock(
      this.#name,
      steal,
      // A page that slept may be granted what it has lost already: that is known when this is answered.
      () => void navigator.locks.query().then(() => this.#claim === claim && this.#rule(), () => {}),
      (held) => (held ? this.#lost(claim) : this.unable()),
    );
    return claim;
  }

  /** The lock is this page's. */
  #rule(): void {
    if (this.ended || this.#reign) return;
    const trails = [...this.ports.values()].map(({ sharer }) => sharer.trail);
    const trail = trails.sort((one, other) => other.length - one.length)[0];
    const run = new Reign(this.#url, this.#protocols, trail && seen(trail), this.page, (page, message) => this.#post(page, message));
    this.#reign = { id: `${this.page}.${++this.#reigns}`, run };
    this.#leader = undefined;
    for (const alarm of [this.#look, this.#stealing]) alarm.clear();
    this.#everybody.post({ is: 'lead', page: this.page, reign: this.#reign.id } satisfies Public);
    this.changed();
  }

  /** The lock is another's now. */
  #lost(claim: Lock): void {
    if (this.ended || this.#claim !== claim) return;
    this.#abdicate();
    this.#again();
  }

  /** The page is about to be frozen. */
  #yield(): void {
    if (!this.#reign) return;
    this.#abdicate();
    this.#claim.end();
    this.#again();
  }

  #again(): void {
    this.#missed = 0;
    this.#claim = this.#claimed(false);
    this.endPorts(({ at }) => at !== undefined);
    this.#lookOut();
  }

  /** The hub's end, if it is here. */
  #abdicate(): void {
    this.#reign?.run.end();
    this.#reign = undefined;
    for (const lock of this.#watched.values()) lock.end();
    this.#watched.clear();
    this.#forget();
  }

  /** Nobody who was spoken to is spoken to any more. */
  #forget(): void {
    for (const mailbox of this.#mailboxes.values()) mailbox.end();
    this.#mailboxes.clear();
  }

  /** Another page leads. */
  #follow({ page, reign }: Leader): void {
    this.#missed = 0;
    this.#stealing.clear();
    if (this.#leader?.reign === reign) return;
    if (this.#reign) {
      // It was robbed, and is about to hear of it.
      this.#abdicate();
      this.#claim.end();
      this.#claim = this.#claimed(false);
    }
    this.#forget();
    this.#leader = { page, reign };
    this.changed();
    this.#lookOut();
  }

  /** From the hub, which is here. */
  #post(page: string, message: FromHub): void {
    if (!this.#reign) return;
    if (page === this.page) this.heard(message);
    else this.#send(page, { ...message, from: this.page, reign: this.#reign.id });
  }

  #send(page: string, message: Private): void {
    let mailbox = this.#mailboxes.get(page);
    if (!mailbox) this.#mailboxes.set(page, (mailbox = new Channel(`${this.#name}:${page}`)));
    mailbox.post(message);
  }

  #public(message: Public): void {
    if (this.ended) return;
    if (message.is === 'lead') return this.#follow(message);
    if (this.#reign) this.#send(message.from, { is: 'lead', from: this.page, reign: this.#reign.id });
  }

  #private(message: Private): void {
    if (this.ended) return;
    const { from, reign } = message;
    switch (message.is) {
      case 'lead':
        if (!this.#reign && !this.#leader) this.#follow({ page: from, reign });
        return;
      case 'look':
        if (reign === this.#reign?.id) this.#send(from, { is: 'here', from: this.page, reign });
        return;
      case 'attach':
      case 'say':
      case 'leave':
      case 'took':
        if (reign !== this.#reign?.id) return;
        this.#watch(from);
        return this.#reign.run.from(from, message);
      default:
        if (reign !== this.#leader?.reign) return;
        this.#missed = 0;
        if (message.is === 'text' || message.is === 'end' || message.is === 'alone') this.took(message);
    }
  }

  /** The lock that a page lives by is granted when it is dead. */
  #watch(page: string): void {
    if (this.#watched.has(page)) return;
    const dead = () => {
      this.#reign?.run.gone(page);
      this.#watched.get(page)?.end();
      this.#watched.delete(page);
      this.#mailboxes.get(page)?.end();
      this.#mailboxes.delete(page);
    };
    this.#watched.set(page, new Lock(`${this.#name}:${page}`, false, dead, () => {}));
  }

  /** Looks whether the leader is there, again and again. */
  #lookOut(): void {
    if (this.ended || this.#reign || !this.alive) return;
    const hidden = typeof document === 'object' && document.visibilityState === 'hidden';
    this.#look.set(hidden ? LOOK_HIDDEN_MS : LOOK_MS, () => {
      if (this.ports.size > 0) this.#looks();
      this.#lookOut();
    });
  }

  #looks(): void {
    this.#missed += 1;
    if (this.#missed > MISSED_MAX) {
      this.#stealing.set(Math.random() * STEAL_SPREAD_MS, () => this.#steal());
    } else if (this.#leader) {
      this.#send(this.#leader.page, { is: 'look', from: this.page, reign: this.#leader.reign });
    } else this.place();
  }

  /** Whoever has the lock does not run. */
  #steal(): void {
    this.#missed = 0;
    this.#claim.end();
    this.#claim = this.#claimed(true);
  }
}
