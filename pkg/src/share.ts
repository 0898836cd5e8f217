// `share: 'device'`: a socket's shape over a connection that another tab may hold (`docs/decisions/0043-one-socket-for-all-tabs.md`).
// Loaded when the first socket of a service that shares is to be made.

import { bearerOf, keyOf } from './share-key.js';
import type { Frame } from './share-log.js';
import { placeAtWorker } from './share-line.js';
import type { Place, Sharer } from './share-place.js';
import { Seat } from './share-seat.js';
import { HANDED_OVER } from './share-tab.js';
import type { Sharing } from './sharing.js';
import type { Role } from './types.js';

/** What is kept of what came, for the hub that this page may come to run, messages and characters. */
const TRAIL_MESSAGES = 200;
const TRAIL_CHARS = 262_144;
/** The greeting of a hub, until the server's own is there. */
const GREETING = '{"type":"connected","auth_required":true}';
const TOKEN_EXPIRED = 4001;
const ABNORMAL = 1006;
const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3];

/** By what those who share have in common. */
const places = new Map<string, Place>();

/** Places that nobody has a connection at, and nobody is to come back to. */
export function letGo(): void {
  for (const place of [...places.values()]) place.rest();
}

/** At a SharedWorker where there is one, else among the pages. */
function placeOf(key: string, url: string, protocols: readonly string[]): Place {
  const known = places.get(key);
  if (known) return known;
  const name = `tautline:share:${key}`;
  const gone = () => {
    if (places.get(key) === place) places.delete(key);
  };
  const place: Place = placeAtWorker(name, url, protocols, gone) ?? new Seat(name, url, protocols, gone);
  places.set(key, place);
  return place;
}

/** A share in a connection; to the module it is a `WebSocket`. */
export class SharedSocket extends EventTarget implements Sharer {
  readonly url: string;
  readonly bufferedAmount = 0;
  readyState: number = CONNECTING;
  auth = '';
  readonly trail: string[] = [];
  readonly #sharing: Sharing;
  readonly #protocols: readonly string[];
  #bearer = '';
  #place: Place | undefined;
  #port = '';
  #chars = 0;

  constructor(sharing: Sharing, url: string, protocols: readonly string[]) {
    super();
    this.url = url;
    this.#sharing = sharing;
    this.#protocols = [...protocols];
    // Its listeners come after it.
    queueMicrotask(() => {
      if (this.readyState !== CONNECTING) return;
      this.readyState = OPEN;
      this.dispatchEvent(new Event('open'));
      this.#message(GREETING);
    });
  }

  send(text: string): void {
    const frame: Frame = JSON.parse(text);
    if (this.auth === '') void this.#begin(frame, text);
    // With another filter, or for somebody else, it shares another connection.
    else if (frame.type === 'subscribe' || frame.type === 'unsubscribe') this.#quit(HANDED_OVER, 'another filter');
    else if (frame.type === 'auth' && bearerOf(frame.token) !== this.#bearer) this.#quit(TOKEN_EXPIRED, 'another bearer');
    else this.#place?.say(this.#port, text);
  }

  close(code = 1000, reason = ''): void {
    if (this.readyState >= CLOSING) return;
    this.readyState = CLOSING;
    this.#leave(code);
    this.#sharing.is('solo');
    queueMicrotask(() => this.#closed(code, reason, true));
  }

  /** @internal */
  role(role: Role): void {
    this.#sharing.is(role);
  }

  /** @internal */
  hear(text: string): void {
    this.trail.push(text);
    this.#chars += text.length;
    while (this.trail.length > TRAIL_MESSAGES || (this.#chars > TRAIL_CHARS && this.trail.length > 0)) this.#chars -= this.trail.shift()!.length;
    this.#message(text);
  }

  /** @internal */
  alone(): void {
    this.#sharing.alone();
  }

  /** @internal */
  end(code: number, reason: string): void {
    this.#place = undefined;
    if (this.readyState < CLOSING) this.#closed(code, reason, code !== HANDED_OVER && code !== ABNORMAL);
  }

  /** Leaves, to come back somewhere else. */
  #quit(code: number, reason: string): void {
    this.#leave(code);
    this.end(code, reason);
  }

  async #begin(frame: Frame, text: string): Promise<void> {
    this.auth = text;
    this.#bearer = bearerOf(frame.token);
    const key = await keyOf(this.url, this.#protocols, frame);
    if (this.readyState !== OPEN) return;
    this.#place = placeOf(key, this.url, this.#protocols);
    this.#port = this.#place.join(this);
  }

  #leave(code: number): void {
    const place = this.#place;
    this.#place = undefined;
    place?.leave(this.#port, code);
  }

  #message(data: string): void {
    if (this.readyState === OPEN) this.dispatchEvent(new MessageEvent('message', { data }));
  }

  #closed(code: number, reason: string, wasClean: boolean): void {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.dispatchEvent(new CloseEvent('close', { code, reason, wasClean }));
  }
}
