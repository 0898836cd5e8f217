// What sharing takes of the browser, each on the ledger from before it exists until it is let go.

import { enter, leave } from './twin.js';

/** A lock that is asked for, and held when it is granted. */
export class Lock {
  #ended = false;
  #release: (() => void) | undefined;
  #abort = new AbortController();
  #entry: number;

  /**
   * @param steal whoever holds it loses it, and those who wait for it wait on
   * @param lost it was stolen; or cannot be had, where it never was
   */
  constructor(name: string, steal: boolean, granted: () => void, lost: (held: boolean) => void) {
    this.#entry = enter('lock', name, () => this.end());
    const hold = () =>
      this.#ended
        ? undefined
        : new Promise<void>((resolve) => {
            this.#release = resolve;
            granted();
          });
    const asked = navigator.locks.request(name, steal ? { steal } : { signal: this.#abort.signal }, hold);
    asked.catch(() => {
      if (this.#ended) return;
      this.end();
      lost(this.#release !== undefined);
    });
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    leave(this.#entry);
    this.#abort.abort();
    this.#release?.();
  }
}

/** A channel that other tabs hear, and are heard on. */
export class Channel {
  #channel: BroadcastChannel;
  #entry: number;

  /** @param heard is given what others say; without it nobody is listened to. */
  constructor(name: string, heard?: (message: unknown) => void) {
    this.#channel = new BroadcastChannel(name);
    this.#entry = enter('channel', name, () => this.end());
    if (heard) this.#channel.onmessage = ({ data }) => heard(data);
  }

  post(message: unknown): void {
    this.#channel.postMessage(message);
  }

  end(): void {
    leave(this.#entry);
    this.#channel.onmessage = null;
    this.#channel.close();
  }
}

/** The one timer of something; setting it anew ends the one before. */
export class Alarm {
  readonly #owner: string;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #entry = 0;

  constructor(owner: string) {
    this.#owner = owner;
  }

  set(ms: number, then: () => void): void {
    this.clear();
    this.#entry = enter('timer', this.#owner, () => this.clear());
    this.#timer = setTimeout(() => {
      this.clear();
      then();
    }, ms);
  }

  clear(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    leave(this.#entry);
    this.#timer = undefined;
  }
}

/** A listener; the function returned takes it off. */
export function listen(target: EventTarget, event: string, then: () => void): () => void {
  const off = () => {
    leave(entry);
    target.removeEventListener(event, then);
  };
  const entry = enter('listener', event, off);
  target.addEventListener(event, then);
  return off;
}
