// Whose token is in force on the one connection, and for how long each tab's own holds.

import { endOf } from './share-key.js';
import type { Frame } from './share-log.js';
import type { Out, Tab } from './share-tab.js';

/** Between renewals: the relay's bound and a little. */
const EVERY_MS = 10_250;
/** How long before the end of the token in force another tab's takes its place. */
const BEFORE_MS = 45_000;
/** How long the relay bears with a token that has run out. */
const LEEWAY_MS = 30_000;

/** See the module. */
export class ShareTokens {
  #success: Frame;
  /** When that came, and the relay's clock then, ms since 1970. */
  #since = 0;
  #serverTime = NaN;
  #inForce: number | undefined;
  /** Tabs that wait for an answer to a renewal, and the one that the relay was asked for. */
  #waiting = new Set<Tab>();
  #asked: Tab | undefined;
  #notBefore = 0;

  /** The relay took a tab's token. */
  begin(success: Frame, tab: Tab | undefined, now: number): void {
    this.#success = success;
    this.#since = now;
    this.#serverTime = Date.parse(success.timestamp);
    this.#inForce = tab?.ends;
    this.#waiting.clear();
    this.#asked = undefined;
    this.#notBefore = 0;
  }

  /** What `auth:success` said, and what renewals have changed. */
  get success(): Frame {
    return this.#success;
  }

  /** Whether a tab's token has run out. */
  late({ ends }: Tab, now: number): boolean {
    return ends !== undefined && ends + LEEWAY_MS < this.#now(now);
  }

  /** How long a tab's own token holds. */
  life({ ends }: Tab, now: number): { expires_in_ms?: number } {
    const at = this.#now(now);
    if (ends !== undefined && !Number.isNaN(at)) return { expires_in_ms: Math.max(0, Math.round(ends - at)) };
    const { expires_in_ms: given } = this.#success;
    return typeof given === 'number' ? { expires_in_ms: Math.max(0, Math.round(given - (now - this.#since))) } : {};
  }

  /** A tab has another token, of the same bearer. */
  renewal(tab: Tab, auth: Frame): void {
    tab.auth = auth;
    tab.ends = endOf(auth.token);
    this.#waiting.add(tab);
  }

  /** A tab has gone. */
  forget(tab: Tab): void {
    this.#waiting.delete(tab);
  }

  /** The relay answered. */
  answered(frame: Frame, text: string, now: number, out: Out): void {
    const tab = this.#asked;
    this.#asked = undefined;
    if (frame.type === 'auth:success') {
      this.#inForce = tab?.ends;
      this.#success = { ...this.#success, view: frame.view };
      return this.#answer({ ...frame, renewal: true }, now, out);
    }
    if (!tab || !this.#waiting.delete(tab)) return;
    tab.ends = undefined;
    out.send([tab.port], text);
  }

  /** The relay refused to look at one so soon. */
  tooSoon(retryAfterMs: unknown, now: number): void {
    this.#notBefore = now + (typeof retryAfterMs === 'number' ? retryAfterMs : EVERY_MS);
    this.#asked = undefined;
  }

  /** Sends the token that lasts longest, where one is to be sent. */
  renew(tabs: Iterable<Tab>, now: number, out: Out): void {
    const last = longest([...tabs].filter(({ live }) => live));
    const ends = this.#inForce;
    if (last?.ends !== undefined && ends !== undefined && last.ends > ends && !Number.isNaN(this.#serverTime)) {
      const at = this.#since + (ends - this.#serverTime) - BEFORE_MS;
      if (now >= at) this.#waiting.add(last);
      else out.at(at);
    }
    if (this.#asked) return;
    if (ends !== undefined) this.#answer({ type: 'auth:success', protocol: 'tautline.v1', renewal: true, view: this.#success?.view }, now, out);
    const next = longest([...this.#waiting]);
    if (!next) return;
    if (now < this.#notBefore) return out.at(this.#notBefore);
    this.#notBefore = now + EVERY_MS;
    this.#asked = next;
    out.write(JSON.stringify(next.auth));
  }

  /** Answers those whose tokens run out no later than the one in force. */
  #answer(frame: Frame, now: number, out: Out): void {
    for (const tab of this.#waiting) {
      if ((tab.ends ?? 0) > (this.#inForce ?? Infinity)) continue;
      this.#waiting.delete(tab);
      out.send([tab.port], JSON.stringify({ ...frame, ...this.life(tab, now) }));
    }
  }

  #now(now: number): number {
    return this.#serverTime + now - this.#since;
  }
}

function longest(tabs: readonly Tab[]): Tab | undefined {
  return tabs.reduce<Tab | undefined>((best, tab) => ((tab.ends ?? 0) > (best?.ends ?? -1) ? tab : best), undefined);
}
