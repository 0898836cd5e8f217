// A page's place among those that share a connection, wherever the hub is: its tabs' connections, and the lock it lives by.

import { Alarm, Lock } from './share-held.js';
import type { FromHub, ToHub } from './share-reign.js';
import { HANDED_OVER } from './share-tab.js';
import type { Role } from './types.js';

/** How long it is kept for a tab that is to come back. */
const EMPTY_MS = 60_000;
/** Messages, and characters of them, after which a page says that it has taken them. */
const TAKEN_MESSAGES = 16;
const TAKEN_CHARS = 65_536;

/** A tab's connection, as its place knows it. */
export interface Sharer {
  /** Its first message. */
  readonly auth: string;
  /** What it was sent last. */
  readonly trail: readonly string[];
  role(role: Role): void;
  hear(text: string): void;
  /** The server is none to be shared, or the browser cannot. */
  alone(): void;
  end(code: number, reason: string): void;
}

/** See the module. */
export abstract class Place {
  /** Its name among the pages. */
  protected readonly page = Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
  /** Connections, and the hub that each is attached to. */
  protected readonly ports = new Map<string, { readonly sharer: Sharer; at: string | undefined }>();
  protected alive = false;
  protected ended = false;
  readonly #gone: () => void;
  readonly #empty = new Alarm('share place');
  /** While a page holds its own lock, it lives. */
  readonly #life: Lock;
  #taken = { messages: 0, chars: 0 };
  #count = 0;

  /** @param name what all who share have in common; @param gone it is of no use any more */
  constructor(name: string, gone: () => void) {
    this.#gone = gone;
    this.#life = new Lock(`${name}:${this.page}`, false, () => this.#lives(), () => this.unable());
  }

  abstract readonly role: Role;

  /** The hub that connections are attached to now, where one is known. */
  protected abstract readonly hub: string | undefined;
  /** The page lives, and may attach. */
  protected abstract begin(): void;
  /** No hub is known. */
  protected abstract seek(): void;
  /** For the hub. */
  protected abstract toHub(message: ToHub): void;
  /** Lets go of what it has. */
  protected abstract close(): void;

  /** A connection begins; answers its name. */
  join(sharer: Sharer): string {
    this.#empty.clear();
    const port = `${this.page}/${++this.#count}`;
    this.ports.set(port, { sharer, at: undefined });
    this.place();
    return port;
  }

  say(port: string, text: string): void {
    this.#tell(port, { is: 'say', port, text });
  }

  /** A connection is let go of by its tab. */
  leave(port: string, code: number): void {
    this.#tell(port, { is: 'leave', port, code });
    this.ports.delete(port);
    this.rest();
  }

  /** Nobody is to come back. */
  rest(): void {
    if (this.ports.size === 0) this.end();
  }

  end(): void {
    if (this.ended) return;
    this.ended = true;
    this.#gone();
    this.#empty.clear();
    this.close();
    this.#life.end();
    this.endPorts(() => true);
  }

  /** Here no locks are to be had. */
  protected unable(): void {
    for (const { sharer } of this.ports.values()) sharer.alone();
    this.end();
  }

  /** Attaches those that wait. */
  protected place(): void {
    const { hub } = this;
    if (!this.alive || this.ended) return;
    if (hub === undefined) return this.seek();
    for (const [port, place] of this.ports) {
      if (place.at !== undefined) continue;
      place.at = hub;
      place.sharer.role(this.role);
      this.toHub({ is: 'attach', port, text: place.sharer.auth });
    }
  }

  /** There is another hub: those attached to the one before come back to it, those that wait are attached. */
  protected changed(): void {
    const { hub } = this;
    this.#taken = { messages: 0, chars: 0 };
    this.endPorts(({ at }) => at !== undefined && at !== hub);
    this.place();
  }

  protected endPorts(which: (place: { readonly at: string | undefined }) => boolean): void {
    for (const [port, place] of [...this.ports]) if (which(place)) this.#endPort(port, HANDED_OVER, 'handed over');
  }

  /** From the hub. */
  protected heard(message: FromHub): void {
    if (message.is === 'end') return this.#endPort(message.port, message.code, message.reason);
    if (message.is === 'alone') for (const { sharer } of this.ports.values()) sharer.alone();
    else for (const port of message.ports) this.ports.get(port)?.sharer.hear(message.text);
  }

  /** The same from another page or thread, which waits to hear that it was taken. */
  protected took(message: FromHub): void {
    if (message.is === 'text') {
      this.#taken.messages += 1;
      this.#taken.chars += message.text.length;
    }
    const { messages, chars } = this.#taken;
    if (messages >= TAKEN_MESSAGES || chars >= TAKEN_CHARS) {
      this.toHub({ is: 'took', count: messages });
      this.#taken = { messages: 0, chars: 0 };
    }
    this.heard(message);
  }

  #lives(): void {
    this.alive = true;
    this.begin();
  }

  #endPort(port: string, code: number, reason: string): void {
    const place = this.ports.get(port);
    this.ports.delete(port);
    if (this.ports.size === 0 && !this.ended) this.#empty.set(EMPTY_MS, () => this.rest());
    place?.sharer.end(code, reason);
  }

  #tell(port: string, message: ToHub): void {
    const at = this.ports.get(port)?.at;
    if (at !== undefined && at === this.hub) this.toHub(message);
  }
}
