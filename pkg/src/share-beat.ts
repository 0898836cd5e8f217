// Pings of tabs, answered by the relay's own answer to one of ours: so that a pong says of the whole way what it always said.

import type { Frame } from './share-log.js';
import type { Out, Tab } from './share-tab.js';

/** Between pings, and until one that has no answer is sent again: below the relay's bound. */
const EVERY_MS = 550;
const AGAIN_MS = 5_000;

/** See the module. */
export class ShareBeat {
  #sent: { at: number; heard: number } | undefined;
  #notBefore = 0;
  #heard = 0;

  /** A connection begins, or is over. */
  begin(): void {
    this.#sent = undefined;
    this.#notBefore = 0;
  }

  /** The relay said something. */
  heard(): void {
    this.#heard += 1;
  }

  /** Whether the relay has said nothing since it was asked. */
  get silent(): boolean {
    return this.#sent?.heard === this.#heard;
  }

  /** Asks for those whose pings wait. */
  ask(tabs: Iterable<Tab>, now: number, out: Out): void {
    const waiting = [...tabs].filter(({ pings }) => pings.length > 0);
    if (waiting.length === 0) return;
    const at = Math.max(this.#notBefore, this.#sent ? this.#sent.at + AGAIN_MS : 0);
    if (now < at) return out.at(at);
    this.#notBefore = now + EVERY_MS;
    this.#sent = { at: now, heard: this.#heard };
    for (const tab of waiting) {
      tab.pinged.push(...tab.pings);
      tab.pings = [];
    }
    out.write(JSON.stringify({ type: 'ping', payload: { timestamp: Math.floor(now) } }));
  }

  /** The relay answered. */
  answer(tabs: Iterable<Tab>, { payload }: Frame, out: Out): void {
    this.#sent = undefined;
    for (const tab of tabs) {
      for (const timestamp of tab.pinged) out.send([tab.port], JSON.stringify({ type: 'pong', payload: { ...payload, timestamp } }));
      tab.pinged = [];
    }
  }
}
