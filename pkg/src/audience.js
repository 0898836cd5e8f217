// Who hears what a service receives: listeners of its events, and subscribers by the messages' type. Plain JavaScript,
// because the browser tests load it as it is.

/** @typedef {import('./emitter.js').Emitter} Emitter */
/** @typedef {import('./emitter.js').Registered} Registered */

/** What `onOutbox` listens to; no pattern is empty. */
const OUTBOX = '';
/** What stands before a regular expression among the patterns, and between its flags and its source: neither has one. */
const LINE = '\n';
/** Types remembered; a server that makes up new ones is forgotten from time to time. */
const TYPES_MAX = 256;

/** Of one service. */
export class Audience {
  /** `on`: those of `message`, `message:<type>` and a type with a colon get the whole message. */
  #events;
  /** `subscribe`, by pattern: they get its payload first. */
  #subscribers;
  /** Who takes a type. @type {Map<string, { emitter: Emitter, registered: Registered }[]>} */
  #takers = new Map();

  /** @param {Emitter} events @param {Emitter} subscribers */
  constructor(events, subscribers) {
    this.#events = events;
    this.#subscribers = subscribers;
  }

  /** Who takes what may have changed. */
  changed() {
    if (this.#takers.size > 0) this.#takers = new Map();
  }

  /**
   * @param {string | RegExp} pattern a type, a prefix such as `order:*`, `*`, or what matches types
   * @param {(...values: any[]) => unknown} callback
   */
  subscribe(pattern, callback) {
    // Without `g` and `y`, which would have it go on behind the last match.
    const name = typeof pattern === 'string' ? pattern : LINE + pattern.flags.replace(/[gy]/g, '') + LINE + pattern.source;
    return this.#subscribers.add(name, callback, false);
  }

  /** @param {() => unknown} callback */
  onOutbox(callback) {
    return this.#subscribers.add(OUTBOX, callback, false);
  }

  outboxChanged() {
    this.#subscribers.emit(OUTBOX);
  }

  /** Gives a message to whoever takes its type: the engine's own object, never copied. @param {any} message */
  deliver(message) {
    const { type, payload } = message;
    for (const { emitter, registered } of this.#takersOf(type)) {
      if (emitter === this.#events) emitter.call(registered, message);
      else emitter.call(registered, payload, message);
    }
  }

  /** @param {string} type */
  #takersOf(type) {
    const known = this.#takers.get(type);
    if (known) return known;
    const from = (/** @type {Emitter} */ emitter, /** @type {string} */ event) => emitter.of(event).map((registered) => ({ emitter, registered }));
    const patterns = [...this.#subscribers.events()].filter((pattern) => takes(pattern, type));
    const takers = [
      ...from(this.#events, 'message'),
      ...from(this.#events, `message:${type}`),
      // The service's own events have no colon in their names: a message of a type such as `error` is none of them.
      ...(type.includes(':') ? from(this.#events, type) : []),
      ...patterns.flatMap((pattern) => from(this.#subscribers, pattern)),
    ];
    if (this.#takers.size >= TYPES_MAX) this.changed();
    this.#takers.set(type, takers);
    return takers;
  }
}

/** @param {string} pattern @param {string} type */
function takes(pattern, type) {
  if (pattern.startsWith(LINE)) {
    const [, flags, source = ''] = pattern.split(LINE);
    return new RegExp(source, flags).test(type);
  }
  return pattern.endsWith('*') ? type.startsWith(pattern.slice(0, -1)) : pattern === type && pattern !== OUTBOX;
}
