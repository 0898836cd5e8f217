// What all tabs together may say to the relay: below its rate, one command of an id at a time, each tab in its turn.

/** Commands that wait for an answer: half of what the relay takes (`docs/protocol.md`, Limits). */
const IN_FLIGHT_MAX = 128;
/** Below the relay's bound: its clock is not ours. */
const SHARE = 0.9;

interface Waiting {
  readonly id: string | undefined;
  readonly text: string;
}

/** See the module. */
export class SharePace {
  #rate = 20;
  #burst = 100 * SHARE;
  #tokens = 100 * SHARE;
  #at = 0;
  #blockedUntil = 0;
  /** What each tab has to say; the one whose turn is next comes first. */
  #queues = new Map<string, Waiting[]>();
  /** Whose answer is waited for, by id. */
  #inFlight = new Map<string, string>();

  /** A connection begins, with the relay's limits. */
  begin(limits: { rate_per_s?: number; burst?: number } | undefined, now: number): void {
    this.#rate = Math.max(limits?.rate_per_s ?? 20, 1) * SHARE;
    this.#burst = this.#tokens = Math.max((limits?.burst ?? 100) * SHARE, 1);
    this.#at = now;
    this.#blockedUntil = 0;
    this.#queues.clear();
    this.#inFlight.clear();
  }

  /** A tab has something to say. */
  push(port: string, id: string | undefined, text: string): void {
    const queue = this.#queues.get(port) ?? [];
    queue.push({ id, text });
    this.#queues.set(port, queue);
  }

  /** A tab has gone: what it has not said is not said; what it has said is answered to nobody. */
  forget(port: string): void {
    this.#queues.delete(port);
  }

  /** Whose command it was that is answered now. */
  answered(id: string): string | undefined {
    const port = this.#inFlight.get(id);
    this.#inFlight.delete(id);
    return port;
  }

  /** The relay refused one for its rate. */
  refused(retryAfterMs: unknown, now: number): void {
    this.#tokens = 0;
    this.#blockedUntil = now + Math.min(typeof retryAfterMs === 'number' ? retryAfterMs : 1_000, 60_000);
  }

  /** The next text that may leave; or when to ask again; or `undefined`: nothing waits, or only for answers. */
  next(now: number): { text: string } | { at: number } | undefined {
    if (this.#inFlight.size >= IN_FLIGHT_MAX) return undefined;
    for (const [port, queue] of this.#queues) {
      const { id, text } = queue[0]!;
      // The relay would take two of one id for one, and answer the second in its own order.
      if (id !== undefined && this.#inFlight.has(id)) continue;
      if (now < this.#blockedUntil) return { at: this.#blockedUntil };
      this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) * this.#rate) / 1_000);
      this.#at = now;
      if (this.#tokens < 1) return { at: now + Math.ceil(((1 - this.#tokens) * 1_000) / this.#rate) };
      this.#tokens -= 1;
      queue.shift();
      this.#queues.delete(port);
      if (queue.length > 0) this.#queues.set(port, queue);
      if (id !== undefined) this.#inFlight.set(id, port);
      return { text };
    }
    return undefined;
  }
}
