// What a client was told, in order, and waiting for what it has not been told yet. In Node and in a page alike.

/** Long for a loopback; what is missing is said by name when it runs out. */
const DEADLINE_MS = 15_000;

export class Heard {
  #events = [];
  #from = 0;
  /** By type, how far it was looked through. */
  #given = new Map();
  #waiting = new Set();

  /** @param {{ type: string }} event */
  add(event) {
    this.#events.push(event);
    for (const wake of [...this.#waiting]) wake();
  }

  /** What was told until now is not waited for. */
  pass() {
    this.#from = this.#events.length;
    this.#given.clear();
  }

  /** All of a type so far; without one, all. @param {string} [type] */
  all(type) {
    return this.#events.filter((event) => type === undefined || event.type === type);
  }

  /**
   * The next event of a type that was not given out before, when it is there.
   * @param {string} type
   * @param {(event: any) => boolean} [fits] those that do not are passed over
   */
  async next(type, fits = () => true) {
    const deadline = Date.now() + DEADLINE_MS;
    for (;;) {
      for (let at = this.#given.get(type) ?? this.#from; at < this.#events.length; at += 1) {
        const event = this.#events[at];
        if (event.type !== type || !fits(event)) continue;
        this.#given.set(type, at + 1);
        return event;
      }
      if (!(await this.#more(deadline - Date.now()))) throw new Error(this.#missing(type));
    }
  }

  #more(ms) {
    return new Promise((resolve) => {
      const end = (came) => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve(came);
      };
      const wake = () => end(true);
      const timer = setTimeout(end, Math.max(ms, 0), false);
      this.#waiting.add(wake);
    });
  }

  #missing(type) {
    const told = this.#events.map((event) => (event.type === 'error' ? `error(${event.error?.code})` : event.type));
    return `no ${type} for ${DEADLINE_MS} ms; the last events: ${told.slice(-40).join(', ') || 'none'}`;
  }
}
