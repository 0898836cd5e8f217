// Who listens to an object of this package's, the same for all of them. Delivery goes on whatever a listener does: take
// others off, add some (first called at the next event), throw. Plain JavaScript, because the browser tests load it as it is.

/** Listeners of one event past which a row of them is warned of, once. */
const MANY = 100;
/** That many added one after the other, and none taken off meanwhile, are a row: what is added again and again. */
const ROW = 50;
/** More than this one event of one object does not take. */
const MOST = 1_000;

/**
 * The object that is listened to.
 * @typedef {object} Owner
 * @property {() => string} named says which it is, where something is warned of
 * @property {(cause: unknown, event: string) => void} failed is told what a listener threw, or its promise was rejected with
 * @property {(text: string) => void} warn
 * @property {(message: string) => Error} full makes the error of a listener too many
 * @property {() => void} changed listeners came or went
 */

/** @typedef {(...values: any[]) => unknown} Listener */
/** @typedef {{ event: string, listener: Listener, once: boolean, off: boolean }} Registered */
/** @typedef {{ list: readonly Registered[], row: number, warned: boolean }} Channel */

/** @type {readonly Registered[]} */
const NOBODY = [];

/** Listeners by event, in the order they came. */
export class Emitter {
  #owner;
  /** Only events that somebody listens to. @type {Map<string, Channel>} */
  #channels = new Map();
  #cuts = 0;

  /** @param {Owner} owner */
  constructor(owner) {
    this.#owner = owner;
  }

  /** Whether nobody listens to anything. */
  get silent() {
    return this.#channels.size === 0;
  }

  /**
   * Adds a listener; the function returned takes it off. Past {@link MOST} of one event it throws, and those there are stay.
   * @param {string} event @param {Listener} listener @param {boolean} once @returns {() => void}
   */
  add(event, listener, once) {
    const channel = this.#channels.get(event) ?? { list: NOBODY, row: 0, warned: false };
    const { named, warn, full } = this.#owner;
    const many = channel.list.length >= MANY;
    const what = many ? `listeners of ${event} on a ${named()}` : '';
    if (channel.list.length >= MOST) throw full(`over ${MOST} ${what}: take off what is done with`);
    channel.row += 1;
    if (many && channel.row > ROW && !channel.warned) {
      channel.warned = true;
      warn(`tautline: over ${MANY} ${what}; is one added again and again and never taken off?`);
    }
    /** @type {Registered} */
    const registered = { event, listener, once, off: false };
    channel.list = [...channel.list, registered];
    this.#channels.set(event, channel);
    this.#owner.changed();
    return () => this.#remove(event, (other) => other === registered);
  }

  /** Takes a listener off, however often it was put on. @param {string} event @param {Listener} listener */
  off(event, listener) {
    this.#remove(event, (other) => other.listener === listener);
  }

  /** Takes off every listener of an event, or of all. @param {string} [event] */
  clear(event) {
    for (const name of event === undefined ? [...this.#channels.keys()] : [event]) this.#remove(name, () => true);
  }

  /** @param {string} event */
  count(event) {
    return this.of(event).length;
  }

  /** Who listens to an event now. @param {string} event */
  of(event) {
    return this.#channels.get(event)?.list ?? NOBODY;
  }

  /** The events that somebody listens to. */
  events() {
    return this.#channels.keys();
  }

  /** Tells an event; answers whether somebody heard it. @param {string} event @param {unknown} [value] */
  emit(event, value) {
    const told = this.of(event);
    const cuts = this.#cuts;
    for (const registered of told) if (cuts === this.#cuts) this.call(registered, value);
    return told.length > 0;
  }

  /** Ends what is being told just now; listeners stay. */
  cut() {
    this.#cuts += 1;
  }

  /**
   * Calls one listener with a value, and another where there is one, unless it was taken off meanwhile.
   * @param {Registered} registered @param {unknown} value @param {unknown} [more]
   */
  call(registered, value, more) {
    const { event, listener, once, off } = registered;
    if (off) return;
    // Before it is called: what it does may tell the same event.
    if (once) this.#remove(event, (other) => other === registered, true);
    try {
      const answer = more === undefined ? listener(value) : listener(value, more);
      if (answer instanceof Promise) answer.catch((cause) => this.#owner.failed(cause, event));
    } catch (cause) {
      this.#owner.failed(cause, event);
    }
  }

  /** @param {string} event @param {(registered: Registered) => boolean} goes @param {boolean} [called] it goes because it was called */
  #remove(event, goes, called = false) {
    const channel = this.#channels.get(event);
    if (!channel) return;
    const stay = channel.list.filter((registered) => {
      registered.off ||= goes(registered);
      return !registered.off;
    });
    if (stay.length === channel.list.length) return;
    channel.list = stay;
    if (!called) channel.row = 0;
    if (stay.length === 0) this.#channels.delete(event);
    this.#owner.changed();
  }
}
