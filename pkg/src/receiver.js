// The way in of a message, in the engine's own language: parse it, ask the module about each event by number, hand it to
// whoever hears the service. It decides nothing: whether an event is delivered says the module, and whatever
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
const PLAIN = 3;

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

/** Receives for one service. It holds a number of the module's, nothing that the module would have to free. */
export class Receiver {
  /** The history in force, as frames name it. @type {string | undefined} */
  epoch = undefined;
  /** What passes between the two sides beside numbers. @type {unknown} */
  value = undefined;
  #wasm;
  #core;
  #tell;
  #isDead;
  /** Whether a type is a plain event's. @type {Map<string, boolean>} */
  #plain = new Map();

  /**
   * @param {Exports} wasm
   * @param {number} core the service's number
   * @param {(event: string, value: unknown) => void} tell tells those who hear the service; it does not throw
   * @param {() => boolean} isDead whether the module has trapped
   */
  constructor(wasm, core, tell, isDead) {
    this.#wasm = wasm;
    this.#core = core;
    this.#tell = tell;
    this.#isDead = isDead;
  }

  /** Which events are plain has changed. */
  forget() {
    this.#plain.clear();
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
      for (const frame of Array.isArray(parsed) ? parsed : [parsed]) this.#other(attempt, QUEUED, frame);
    } else if (Array.isArray(parsed)) {
      let now = began;
      for (let n = 0; n < parsed.length; n += 1) {
        if (now - began < TURN_MS) this.#frame(attempt, parsed[n], now);
        else this.#other(attempt, QUEUED, parsed[n]);
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
    if (frame !== null && typeof frame === 'object' && this.#isPlain(frame.type)) {
      const { seq, epoch } = frame;
      const plain = seq === undefined;
      if (plain || (typeof seq === 'number' && epoch === this.epoch && epoch !== undefined)) {
        const caused = frame.command_id === undefined ? 0 : 1;
        const word = this.#wasm.receive_event(this.#core, attempt, plain ? -1 : seq, caused, now);
        if (word !== LOOK) {
          if (word !== DROP) this.#tell('message', frame);
          if (word === DELIVER_FIRST && !this.#isDead()) this.#wasm.receive_rest(this.#core);
          return;
        }
      }
    }
    this.#other(attempt, FRAME, frame);
  }

  /** @param {unknown} type */
  #isPlain(type) {
    if (typeof type !== 'string' || type.length > TYPE_MAX) return false;
    const known = this.#plain.get(type);
    if (known !== undefined) return known;
    const plain = this.#other(0, PLAIN, type) === 1;
    if (this.#plain.size >= TYPES_MAX) this.forget();
    this.#plain.set(type, plain);
    return plain;
  }

  /** @param {number} attempt @param {number} what @param {unknown} value */
  #other(attempt, what, value) {
    this.value = value;
    return this.#wasm.receive_other(this.#core, attempt, what);
  }
}
