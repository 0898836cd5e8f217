// What the one connection has brought of late: a stretch of the restaurant's log without a gap. Each tab is a position in it.

/** Frames kept, and characters of them: past either the oldest go, and who needs those asks the relay. */
const ENTRIES_MAX = 1_000;
const CHARS_MAX = 1_048_576;
/** What one message to a tab holds: as much as a turn of the relay's (`docs/protocol.md`, Turns). */
const TURN_ENTRIES = 64;
const TURN_CHARS = 131_072;

/** A parsed frame of the relay's; its members are looked at one by one. */
export type Frame = any;

/** An event, or a cursor frame: "of what is in (`from`, `seq`] this is all that is yours". */
export interface Logged {
  readonly from: number;
  readonly seq: number;
  readonly text: string;
}

/** A stretch to begin with: what the tab that runs the hub has seen itself. */
export interface Stretch {
  readonly epoch: string;
  readonly entries: readonly Logged[];
}

/** The stretch of a log that an event or a cursor frame is; `undefined` for another frame. */
export function stretchOf(frame: Frame): { from: number; seq: number; epoch: string } | undefined {
  const { type, seq, epoch } = frame;
  if (typeof seq !== 'number' || typeof epoch !== 'string') return undefined;
  if (type === 'cursor') return typeof frame.from === 'number' ? { from: frame.from, seq, epoch } : undefined;
  return OTHERS.has(type) ? undefined : { from: seq - 1, seq, epoch };
}

/** Frames with a `seq` that are no events. */
const OTHERS = new Set(['auth:success', 'ack', 'nack', 'reset', 'pong', 'sync_complete', 'sync_aborted']);

/** See the module. */
export class ShareLog {
  epoch: string | undefined;
  /** The last number known; `undefined` until there is a position. */
  head: number | undefined;
  #entries: Logged[] = [];
  #chars = 0;
  #tail = 0;

  /** Begins at a position, with nothing before it. */
  start(epoch: string, at: number): void {
    this.clear();
    this.epoch = epoch;
    this.head = this.#tail = at;
  }

  /** Another history, whose position is not known yet. */
  clear(epoch?: string): void {
    this.epoch = epoch;
    this.head = undefined;
    this.#entries = [];
    this.#chars = 0;
  }

  /** Goes on from the head; answers whether it does. */
  append(entry: Logged): boolean {
    if (this.head === undefined || entry.from > this.head || entry.seq <= this.head) return false;
    this.head = entry.seq;
    this.#entries.push(entry);
    this.#chars += entry.text.length;
    let gone = 0;
    while (this.#entries.length - gone > ENTRIES_MAX || (this.#chars > CHARS_MAX && gone < this.#entries.length)) {
      const oldest = this.#entries[gone++]!;
      this.#chars -= oldest.text.length;
      this.#tail = oldest.seq;
    }
    if (gone > 0) this.#entries.splice(0, gone);
    return true;
  }

  /** Whether everything after that position is here. */
  covers(position: number): boolean {
    return this.head !== undefined && position >= this.#tail && position <= this.head;
  }

  /** What follows a position that is covered, as messages, each a frame or an array of them. */
  after(position: number): string[] {
    let low = 0;
    for (let high = this.#entries.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.#entries[middle]!.seq > position) high = middle;
      else low = middle + 1;
    }
    return batches(this.#entries.slice(low).map(({ text }) => text));
  }
}

/** Frames as messages. */
export function batches(frames: readonly string[]): string[] {
  const messages: string[] = [];
  let turn: string[] = [];
  let chars = 0;
  const end = () => {
    if (turn.length > 0) messages.push(turn.length === 1 ? turn[0]! : `[${turn.join()}]`);
    turn = [];
    chars = 0;
  };
  for (const frame of frames) {
    if (turn.length >= TURN_ENTRIES || (turn.length > 0 && chars + frame.length > TURN_CHARS)) end();
    turn.push(frame);
    chars += frame.length;
  }
  end();
  return messages;
}

/** What a tab was sent last, oldest first, as a stretch of the log: the end of it that has no gap. */
export function seen(messages: readonly string[]): Stretch | undefined {
  let epoch: string | undefined;
  let entries: Logged[] = [];
  for (const message of messages) {
    const parsed: Frame = JSON.parse(message);
    for (const frame of Array.isArray(parsed) ? parsed : [parsed]) {
      const stretch = stretchOf(frame);
      if (!stretch) continue;
      const { from, seq } = stretch;
      if (stretch.epoch !== epoch || from !== entries.at(-1)?.seq) entries = [];
      epoch = stretch.epoch;
      entries.push({ from, seq, text: JSON.stringify(frame) });
    }
  }
  return epoch === undefined ? undefined : { epoch, entries };
}
