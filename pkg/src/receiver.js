// The way in of a message, in the engine's own language: parse it, ask the module about each event by number, call
// those who subscribed to its type. It decides nothing: whether an event is delivered says the module, and whatever
// is not a plain event is the module's altogether. Plain JavaScript, because the browser tests load it as it is.

/** The module's word on an event; the same numbers as in `src/core/receive.rs`. */
const DROP = 0;
// 1: deliver it.
/** Deliver it, then let the module go on with what else it causes. */
const DELIVER_FIRST = 2;
/** The module must see the frame. */
const LOOK = 3;

/** What `receive_other` is told. */
const FRAME = 0;
const QUEUED = 1;
const GARBAGE = 2;
const TAKERS = 3;
const FAILED = 4;
const PROMISE = 5;
const ONCE = 6;

/** As long as a type may be. */
const TYPE_MAX = 64;
/** Types remembered; a server that makes up new ones is forgotten from time to time. */
const TYPES_MAX = 256;
/** How long a batch is delivered before the rest is left to a new task, ms. */
const TURN_MS = 8;

/**
 * The module's own functions: numbers in, numbers out.
 * @typedef {object} Exports
 * @property {(core: number, now: number) => number} receive_begin
 * @property {(core: number, attempt: number, seq: number, caused: number, now: number) => number} receive_event
 * @property {(core: number) => void} receive_rest
 * @property {(core: number, attempt: number, what: number) => number} receive_other
 * @property {(core: number, mine: number) => void} receive_end
 */

/**
 * @typedef {{ id: number, callback: (...args: unknown[]) => unknown, whole: boolean, once: boolean, off: boolean }} Taker
 */

/** Receives for one service. It holds a number of the module's, nothing that the module would have to free. */
export class Receiver {
  /** The history in force, as frames name it. @type {string | undefined} */
  epoch = undefined;
  /** What passes between the two sides beside numbers. @type {unknown} */
  value = undefined;
  #wasm;
  #core;
  #isDead;
  #report;
  /** Who takes a type; `null`: it is not a plain event. @type {Map<string, Taker[] | null>} */
  #takers = new Map();

  /**
   * @param {Exports} wasm
   * @param {number} core the service's number
   * @param {() => boolean} isDead whether the module has trapped
   * @param {(error: unknown) => void} report says an error that nobody is left to hear
   */
  constructor(wasm, core, isDead, report) {
    this.#wasm = wasm;
    this.#core = core;
    this.#isDead = isDead;
    this.#report = report;
  }

  /** Who takes what may have changed. */
  forget() {
    if (this.#takers.size > 0) this.#takers = new Map();
  }

  /** A callback was taken off; a delivery under way passes it by. @param {number} id */
  off(id) {
    for (const takers of this.#takers.values()) {
      for (const taker of takers ?? []) if (taker.id === id) taker.off = true;
    }
    this.forget();
  }

  /** The `message` listener of an attempt's socket. @param {number} attempt */
  listener(attempt) {
    return (/** @type {MessageEvent} */ event) => this.#message(attempt, event.data);
  }

  /** @param {number} attempt @param {unknown} data */
  #message(attempt, data) {
    /** @type {unknown} */
    let parsed;
    let garbage = typeof data !== 'string';
    try {
      if (!garbage) parsed = JSON.parse(/** @type {string} */ (data));
    } catch {
      garbage = true;
    }
    const wasm = this.#wasm;
    const began = performance.now();
    let mine = 0;
    if (garbage) {
      wasm.receive_other(this.#core, attempt, GARBAGE);
    } else if ((mine = wasm.receive_begin(this.#core, began)) === 0) {
      // A turn is under way, or left something: this waits behind it.
      for (const frame of Array.isArray(parsed) ? parsed : [parsed]) this.#tell(attempt, QUEUED, frame);
    } else if (Array.isArray(parsed)) {
      let now = began;
      for (let n = 0; n < parsed.length; n += 1) {
        if (now - began < TURN_MS) this.#frame(attempt, parsed[n], now);
        else this.#tell(attempt, QUEUED, parsed[n]);
        if (this.#isDead()) return;
        now = performance.now();
      }
    } else {
      this.#frame(attempt, parsed, began);
    }
    if (!this.#isDead()) wasm.receive_end(this.#core, mine);
  }

  /** @param {number} attempt @param {any} frame @param {number} now */
  #frame(attempt, frame, now) {
    const takers = frame === null || typeof frame !== 'object' ? null : this.#takersOf(frame.type);
    if (takers) {
      const { seq, epoch } = frame;
      const plain = seq === undefined;
      if (plain || (typeof seq === 'number' && epoch === this.epoch && epoch !== undefined)) {
        const caused = frame.command_id === undefined ? 0 : 1;
        const word = this.#wasm.receive_event(this.#core, attempt, plain ? -1 : seq, caused, now);
        if (word !== LOOK) {
          if (word !== DROP) this.#deliver(attempt, takers, frame);
          if (word === DELIVER_FIRST && !this.#isDead()) this.#wasm.receive_rest(this.#core);
          return;
        }
      }
    }
    this.#tell(attempt, FRAME, frame);
  }

  /** @param {unknown} type */
  #takersOf(type) {
    const known = this.#takers.get(/** @type {string} */ (type));
    if (known !== undefined) return known;
    if (typeof type !== 'string' || type.length > TYPE_MAX) return null;
    this.#tell(0, TAKERS, type);
    const given = /** @type {any[] | null} */ (this.value);
    this.value = undefined;
    /** @type {Taker[] | null} */
    let takers = null;
    if (given) {
      takers = [];
      for (let n = 0; n < given.length; n += 4) takers.push({ id: given[n], callback: given[n + 1], whole: given[n + 2], once: given[n + 3], off: false });
    }
    if (this.#takers.size >= TYPES_MAX) this.forget();
    this.#takers.set(type, takers);
    return takers;
  }

  /** @param {number} attempt @param {Taker[]} takers @param {any} frame */
  #deliver(attempt, takers, frame) {
    const { payload } = frame;
    for (const taker of takers) {
      if (taker.off) continue;
      if (taker.once) this.#tell(attempt, ONCE, taker.id);
      const { callback } = taker;
      try {
        const answer = taker.whole ? callback(frame) : callback(payload, frame);
        if (answer instanceof Promise) this.#tell(attempt, PROMISE, answer);
      } catch (error) {
        if (this.#isDead()) return;
        if (this.#tell(attempt, FAILED, error) === 0) this.#report(error);
      }
    }
  }

  /** @param {number} attempt @param {number} what @param {unknown} value */
  #tell(attempt, what, value) {
    this.value = value;
    return this.#wasm.receive_other(this.#core, attempt, what);
  }
}
