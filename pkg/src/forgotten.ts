// What a page forgets without ending it is found by the collector, ended, and reported once. The collector is handed what
// is left then, and nothing that leads back to the object: or it would never be garbage.

import { entering, trap } from './trap.js';
import { ledger } from './twin.js';

/** What is left of an object when it is gone. */
export interface Remains {
  /** Its number among the page's objects. */
  readonly id: number;
  readonly name: string;
  readonly madeAt: string;
  readonly glue: { dispose(): void; free(): void };
  /** What ends with it, beside the module's object. */
  readonly also: { end(): void } | undefined;
  /** What it was made on. */
  readonly under: WeakRef<{ readonly live: boolean }> | undefined;
}

let registry: FinalizationRegistry<Remains> | undefined;

/** Watches an object that the page should end. */
export function watchFor(object: WeakKey, remains: Remains): void {
  registry ??= new FinalizationRegistry(collected);
  registry.register(object, remains, object);
}

/** It was ended. */
export function unwatch(object: WeakKey, { id }: Remains): void {
  registry?.unregister(object);
  ledger().objects.delete(id);
}

/** Takes the module's object off its own finaliser, without entering the module: it would free memory in one that is dead. */
export function abandon({ glue }: Remains): void {
  (glue as { __destroy_into_raw?: () => number }).__destroy_into_raw?.();
}

function collected(remains: Remains): void {
  const { id, name, madeAt, glue, also, under } = remains;
  ledger().objects.delete(id);
  if (trap()) {
    also?.end();
    return abandon(remains);
  }
  // What was made on something that is over holds nothing, and what goes together is reported by what it was made on.
  if (under === undefined || under.deref()?.live) {
    console.warn(`tautline: a ${name} was forgotten without dispose(); it is ended now. Keep it while it is wanted, then dispose of it. It was made at\n${madeAt}`);
  }
  entering(() => {
    glue.dispose();
    glue.free();
  });
  also?.end();
}
