// A page's seat among those that share a connection: one of them holds a lock, and with it the hub; the others speak to it. When the
// holder dies the lock passes on by itself; when it is frozen, it is stolen.

import { Alarm, Channel, listen, Lock } from './share-held.js';
import { seen } from './share-log.js';
import { type FromHub, Reign, type ToHub } from './share-reign.js';
import { HANDED_OVER } from './share-tab.js';
import type { Role } from './types.js';

/** Between looks at the leader while this page is to be seen, and while browsers hold its timers back. */
const LOOK_MS = 250;
const LOOK_HIDDEN_MS = 1_000;
/** So many looks without an answer, and the leader is frozen. */
const MISSED_MAX = 3;
/** Those who notice at the same time are not to rob each other. */
const STEAL_SPREAD_MS = 100;
/** How long a seat is kept for a tab that is to come back. */
const EMPTY_MS = 60_000;
/** Messages, and characters of them, after which a page says that it has taken them. */
const TAKEN_MESSAGES = 16;
const TAKEN_CHARS = 65_536;

/** Who leads, and since when: what an earlier reign still says is not heard. */
interface Leader {
  readonly page: string;
  readonly reign: string;
}

/** What is said to all. */
type Public = { readonly is: 'who'; readonly from: string } | ({ readonly is: 'lead' } & Leader);
/** What is said to one page. */
type Private = { readonly from: string; readonly reign: string } & (ToHub | FromHub | { readonly is: 'lead' | 'look' | 'here' });

/** A tab's connection, as its seat knows it. */
export interface Sharer {
  /** Its first message. */
  readonly auth: string;
  /** What it was sent last. */
  readonly trail: readonly string[];
  role(role: Role): void;
  hear(text: string): void;
  /** The server is none to be shared. */
  alone(): void;
  end(code: number, reason: string): void;
}

const random = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (byte) => byte.toString(36).padStart(2, '0')).join('');

/** See the module. */
export class Seat {
  readonly #name: string;
  readonly #url: string;
  readonly #protocols: readonly string[];
  readonly #gone: () => void;
  readonly #page = random();
  /** Connections, and the reign that each is attached to. */
  readonly #ports = new Map<string, { readonly sharer: Sharer; at: string | undefined }>();
  readonly #everybody: Channel;
  readonly #own: Channel;
  readonly #mailboxes = new Map<string, Channel>();
  readonly #offs: (() => void)[] = [];
  readonly #look = new Alarm('share look');
  readonly #stealing = new Alarm('share steal');
  readonly #empty = new Alarm('share seat');
  /** While a page holds its own lock, it lives. */
  readonly #life: Lock;
  readonly #watched = new Map<string, Lock>();
  #alive = false;
  #claim: Lock;
  #leader: Leader | undefined;
  #reign: { readonly id: string; readonly run: Reign } | undefined;
  #missed = 0;
  #taken = { messages: 0, chars: 0 };
  #count = 0;
  #ended = false;

  /** @param name what all who share have in common; @param gone it is of no use any more */
  constructor(name: string, url: string, protocols: readonly string[], gone: () => void) {
    this.#name = name;
    this.#url = url;
    this.#protocols = protocols;
    this.#gone = gone;
    this.#everybody = new Channel(name, (message) => this.#public(message as Public));
    this.#own = new Channel(`${name}:${this.#page}`, (message) => this.#private(message as Private));
    this.#life = new Lock(`${name}:${this.#page}`, false, () => this.#lives(), () => this.#unable());
    this.#claim = this.#claimed(false);
    // A frozen page holds on to its locks.
    if (typeof document === 'object') this.#offs.push(listen(document, 'freeze', () => this.#yield()));
  }

  get role(): Role {
    return this.#reign ? 'leader' : 'follower';
  }

  /** A connection begins; answers its name. */
  join(sharer: Sharer): string {
    this.#empty.clear();
    const port = `${this.#page}/${++this.#count}`;
    this.#ports.set(port, { sharer, at: undefined });
    this.#place();
    return port;
  }

  say(port: string, text: string): void {
    this.#tell(port, { is: 'say', port, text });
  }

  /** A connection is let go of by its tab. */
  leave(port: string, code: number): void {
    this.#tell(port, { is: 'leave', port, code });
    this.#ports.delete(port);
    this.rest();
  }

  /** Nobody is to come back. */
  rest(): void {
    if (this.#ports.size === 0) this.end();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#gone();
    for (const off of this.#offs) off();
    for (const alarm of [this.#look, this.#stealing, this.#empty]) alarm.clear();
    this.#abdicate();
    this.#everybody.end();
    this.#own.end();
    this.#claim.end();
    this.#life.end();
    this.#endPorts(() => true);
  }

  #lives(): void {
    this.#alive = true;
    this.#place();
    this.#lookOut();
  }

  #claimed(steal: boolean): Lock {
    const claim: Lock = new Lock(
      this.#name,
      steal,
      // A page that slept may be granted what it has lost already: that is known when this is answered.
      () => void navigator.locks.query().then(() => this.#claim === claim && this.#rule(), () => {}),
      (held) => (held ? this.#lost(claim) : this.#unable()),
    );
    return claim;
  }

  /** The lock is this page's. */
  #rule(): void {
    if (this.#ended || this.#reign) return;
    const trails = [...this.#ports.values()].map(({ sharer }) => sharer.trail);
    const trail = trails.sort((one, other) => other.length - one.length)[0];
    const run = new Reign(this.#url, this.#protocols, trail && seen(trail), this.#page, (page, message) => this.#post(page, message));
    this.#reign = { id: random(), run };
    this.#leader = undefined;
    for (const alarm of [this.#look, this.#stealing]) alarm.clear();
    this.#everybody.post({ is: 'lead', page: this.#page, reign: this.#reign.id } satisfies Public);
    this.#changed();
  }

  /** Here no locks are to be had. */
  #unable(): void {
    for (const { sharer } of this.#ports.values()) sharer.alone();
    this.end();
  }

  /** The lock is another's now. */
  #lost(claim: Lock): void {
    if (this.#ended || this.#claim !== claim) return;
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
    this.#endPorts(({ at }) => at !== undefined);
    this.#lookOut();
  }

  /** The hub's end, if it is here. */
  #abdicate(): void {
    this.#reign?.run.end();
    this.#reign = undefined;
    for (const lock of this.#watched.values()) lock.end();
    for (const mailbox of this.#mailboxes.values()) mailbox.end();
    this.#watched.clear();
    this.#mailboxes.clear();
  }

  /** Another page leads. */
  #follow({ page, reign }: Leader): void {
    this.#missed = 0;
    this.#taken = { messages: 0, chars: 0 };
    this.#stealing.clear();
    if (this.#leader?.reign === reign) return;
    if (this.#reign) {
      // It was robbed, and is about to hear of it.
      this.#abdicate();
      this.#claim.end();
      this.#claim = this.#claimed(false);
    }
    this.#leader = { page, reign };
    this.#changed();
    this.#lookOut();
  }

  /** There is another leader: those attached to the one before come back to it, those that wait are attached. */
  #changed(): void {
    const reign = this.#reign?.id ?? this.#leader?.reign;
    this.#endPorts(({ at }) => at !== undefined && at !== reign);
    this.#place();
  }

  #place(): void {
    const reign = this.#reign?.id ?? this.#leader?.reign;
    if (!this.#alive || this.#ended) return;
    if (reign === undefined) return this.#everybody.post({ is: 'who', from: this.#page } satisfies Public);
    for (const [port, place] of this.#ports) {
      if (place.at !== undefined) continue;
      place.at = reign;
      place.sharer.role(this.role);
      this.#tell(port, { is: 'attach', port, text: place.sharer.auth });
    }
  }

  #endPorts(which: (place: { readonly at: string | undefined }) => boolean): void {
    for (const [port, place] of [...this.#ports]) if (which(place)) this.#endPort(port, HANDED_OVER, 'handed over');
  }

  #endPort(port: string, code: number, reason: string): void {
    const place = this.#ports.get(port);
    this.#ports.delete(port);
    if (this.#ports.size === 0 && !this.#ended) this.#empty.set(EMPTY_MS, () => this.rest());
    place?.sharer.end(code, reason);
  }

  /** For the hub, wherever it is. */
  #tell(port: string, message: ToHub): void {
    const at = this.#ports.get(port)?.at;
    if (this.#reign && at === this.#reign.id) this.#reign.run.from(this.#page, message);
    else if (this.#leader && at === this.#leader.reign) this.#send(this.#leader.page, { ...message, from: this.#page, reign: at });
  }

  /** From the hub, which is here. */
  #post(page: string, message: FromHub): void {
    if (!this.#reign) return;
    if (page === this.#page) this.#heard(message);
    else this.#send(page, { ...message, from: this.#page, reign: this.#reign.id });
  }

  #send(page: string, message: Private): void {
    let mailbox = this.#mailboxes.get(page);
    if (!mailbox) this.#mailboxes.set(page, (mailbox = new Channel(`${this.#name}:${page}`)));
    mailbox.post(message);
  }

  #heard(message: FromHub): void {
    if (message.is === 'end') return this.#endPort(message.port, message.code, message.reason);
    if (message.is === 'alone') for (const { sharer } of this.#ports.values()) sharer.alone();
    else for (const port of message.ports) this.#ports.get(port)?.sharer.hear(message.text);
  }

  #public(message: Public): void {
    if (this.#ended) return;
    if (message.is === 'lead') return this.#follow(message);
    if (this.#reign) this.#send(message.from, { is: 'lead', from: this.#page, reign: this.#reign.id });
  }

  #private(message: Private): void {
    if (this.#ended) return;
    const { from, reign } = message;
    switch (message.is) {
      case 'lead':
        if (!this.#reign && !this.#leader) this.#follow({ page: from, reign });
        return;
      case 'look':
        if (reign === this.#reign?.id) this.#send(from, { is: 'here', from: this.#page, reign });
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
        if (message.is === 'text') this.#took(message.text.length);
        if (message.is === 'text' || message.is === 'end' || message.is === 'alone') this.#heard(message);
    }
  }

  #took(more: number): void {
    const { messages, chars } = this.#taken;
    this.#taken = { messages: messages + 1, chars: chars + more };
    if ((this.#taken.messages < TAKEN_MESSAGES && this.#taken.chars < TAKEN_CHARS) || !this.#leader) return;
    this.#send(this.#leader.page, { is: 'took', count: this.#taken.messages, from: this.#page, reign: this.#leader.reign });
    this.#taken = { messages: 0, chars: 0 };
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
    if (this.#ended || this.#reign || !this.#alive) return;
    const hidden = typeof document === 'object' && document.visibilityState === 'hidden';
    this.#look.set(hidden ? LOOK_HIDDEN_MS : LOOK_MS, () => {
      if (this.#ports.size > 0) this.#looks();
      this.#lookOut();
    });
  }

  #looks(): void {
    this.#missed += 1;
    if (this.#missed > MISSED_MAX) {
      this.#stealing.set(Math.random() * STEAL_SPREAD_MS, () => this.#steal());
    } else if (this.#leader) {
      this.#send(this.#leader.page, { is: 'look', from: this.#page, reign: this.#leader.reign });
    } else this.#place();
  }

  /** Whoever has the lock does not run. */
  #steal(): void {
    this.#missed = 0;
    this.#claim.end();
    this.#claim = this.#claimed(true);
  }
}
