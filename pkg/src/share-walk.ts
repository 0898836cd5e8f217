// What is asked of the relay for tabs that the log at hand does not serve: one `orders:sync` at a time. A snapshot that came is
// kept while the log goes on from it: a tab that opens later needs nothing of the relay.

import type { Frame } from './share-log.js';

/** Between two syncs of a connection: the relay's bound and a little for clocks that differ. */
const PAUSE_MS = 5_250;
/** A sync that has no answer by then gets none. */
const UNANSWERED_MS = 30_000;
/** A larger snapshot is handed on and not kept, characters. */
const KEPT_CHARS = 4_194_304;

/** The live set at one position; `parts` are lists of orders as JSON. */
export interface Snapshot {
  readonly epoch: string;
  readonly seq: number;
  readonly parts: readonly string[];
}

/** A snapshot as the frames that bring it. */
export function framesOf({ epoch, seq, parts }: Snapshot, syncId: string): string[] {
  return parts.map((orders, n) => {
    const head = JSON.stringify({ status: 'snapshot', sync_id: syncId, epoch, seq, part: n + 1, parts: parts.length });
    return `{"type":"sync_complete","payload":${head.slice(0, -1)},"orders":${orders}}}`;
  });
}

/** See the module. */
export class ShareWalk {
  /** The last snapshot. */
  kept: Snapshot | undefined;
  /** The position that the relay was asked to go back to. */
  rewind: number | undefined;
  #asked: string | undefined;
  #askedAt = 0;
  #notBefore = 0;
  #count = 0;
  #parts: { syncId: unknown; epoch: string; seq: number; of: number; orders: string[] } | undefined;

  /** A connection begins. */
  begin(): void {
    this.over();
    this.#notBefore = 0;
  }

  /** Whether the relay owes a snapshot, or events that it was asked for. */
  underWay(now: number): boolean {
    return this.#parts !== undefined || (this.#asked !== undefined && now < this.#askedAt + UNANSWERED_MS);
  }

  /** Asks for a snapshot, or for all that follows a position; or says when that may be. */
  ask(epoch: string | undefined, rewind: number | undefined, now: number): { text: string } | { at: number } {
    if (now < this.#notBefore) return { at: this.#notBefore };
    this.#asked = `share-${++this.#count}`;
    this.#askedAt = now;
    this.#notBefore = now + PAUSE_MS;
    this.rewind = rewind;
    const payload = rewind === undefined ? { request_full_sync: true } : { epoch, seq: rewind };
    return { text: JSON.stringify({ type: 'orders:sync', id: this.#asked, payload }) };
  }

  /** Whether that id is what was asked. */
  is(id: unknown): boolean {
    return id !== undefined && id === this.#asked;
  }

  /** The relay refused to. */
  refused(retryAfterMs: unknown, now: number): void {
    this.over();
    this.#notBefore = now + (typeof retryAfterMs === 'number' ? Math.max(retryAfterMs, 100) : PAUSE_MS);
  }

  /** What was asked for is here, or comes no more. */
  over(): void {
    this.#asked = this.#parts = this.rewind = undefined;
  }

  /** A part; the snapshot, with the last. */
  part({ sync_id: syncId, epoch, seq, part, parts: of, orders }: Frame): Snapshot | undefined {
    if (part === 1) this.#parts = { syncId, epoch, seq, of, orders: [] };
    const parts = this.#parts;
    if (!parts || parts.syncId !== syncId || parts.orders.length !== part - 1) return undefined;
    parts.orders.push(JSON.stringify(orders));
    if (part < of) return undefined;
    this.over();
    const snapshot = { epoch: parts.epoch, seq: parts.seq, parts: parts.orders };
    const chars = snapshot.parts.reduce((sum, text) => sum + text.length, 0);
    this.kept = chars <= KEPT_CHARS ? snapshot : undefined;
    return snapshot;
  }
}
