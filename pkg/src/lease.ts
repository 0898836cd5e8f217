import { dispose } from './symbols.js';

/** What a lease is known by outside of itself; nothing here leads back to the lease. */
export interface Holding {
  /** Whether it still holds anything: its manager may have been disposed. */
  readonly holds: () => boolean;
  readonly release: () => void;
  readonly madeAt: string;
}

const holdings = new Map<number, Holding>();
let nextNumber = 1;
let forgotten: FinalizationRegistry<number> | undefined;

/** A safety net: the collector holds a number only, so that it can find the lease to be garbage. */
function collected(number: number): void {
  const holding = holdings.get(number);
  if (!holding) return;
  holdings.delete(number);
  if (!holding.holds()) return;
  console.warn(`tautline: a lease was never released; it is now. Keep it and call release(). It was made at\n${holding.madeAt}`);
  holding.release();
}

/**
 * A share in a connection. While anybody holds one the connection is kept.
 *
 * ```ts
 * using lease = await manager.acquire();
 * ```
 */
export class Lease {
  readonly #number = nextNumber++;

  /** @internal */
  constructor(holding: Holding) {
    holdings.set(this.#number, holding);
    forgotten ??= new FinalizationRegistry(collected);
    forgotten.register(this, this.#number, this);
  }

  /** Lets go of it; twice does nothing. */
  release(): void {
    const holding = holdings.get(this.#number);
    if (!holding) return;
    holdings.delete(this.#number);
    forgotten?.unregister(this);
    holding.release();
  }

  /** The same as `release()`: `using` works. */
  [dispose](): void {
    this.release();
  }
}
