// Listeners by event. Delivery goes on whatever a listener does: unsubscribe others, add some (first called at the
// next event), throw.

interface Registered {
  readonly event: string;
  readonly listener: (value: never) => unknown;
  readonly once: boolean;
  off: boolean;
}

/** Listeners of one event past which somebody has probably forgotten to take them off. */
const MANY = 100;

/** Who listens to one object. */
export class Emitter {
  readonly #failed: (cause: unknown, event: string) => void;
  #list: readonly Registered[] = [];

  /** @param failed is told what a listener threw, or its promise was rejected with. */
  constructor(failed: (cause: unknown, event: string) => void) {
    this.#failed = failed;
  }

  /** Adds a listener; the function returned takes it off. */
  add(event: string, listener: (value: never) => unknown, once: boolean): () => void {
    if (this.count(event) === MANY) console.warn(`tautline: over ${MANY} listeners of ${event}; is one added again and again and never taken off?`);
    const registered: Registered = { event, listener, once, off: false };
    this.#list = [...this.#list, registered];
    return () => this.#remove((other) => other === registered);
  }

  /** Takes a listener off, however often it was put on. */
  off(event: string, listener: (value: never) => unknown): void {
    this.#remove((other) => other.event === event && other.listener === listener);
  }

  /** Takes off every listener of an event, or of all. */
  clear(event?: string): void {
    this.#remove((other) => event === undefined || other.event === event);
  }

  count(event: string): number {
    return this.#list.filter((registered) => registered.event === event).length;
  }

  /** Tells an event; answers whether somebody heard it. */
  emit(event: string, value: unknown): boolean {
    const told = this.#list.filter((registered) => registered.event === event);
    for (const registered of told) {
      if (registered.off) continue;
      if (registered.once) this.#remove((other) => other === registered);
      try {
        const answer = (registered.listener as (value: unknown) => unknown)(value);
        if (answer instanceof Promise) answer.catch((cause: unknown) => this.#failed(cause, event));
      } catch (cause) {
        this.#failed(cause, event);
      }
    }
    return told.length > 0;
  }

  #remove(goes: (registered: Registered) => boolean): void {
    this.#list = this.#list.filter((registered) => {
      registered.off ||= goes(registered);
      return !registered.off;
    });
  }
}
