// What the module is handed once it is loaded: the error class, the ledger, the console. Plain JavaScript that
// decides nothing, and does not import the module.

import { type Exports, Receiver } from './receiver.js';
import { type ErrorCode, type ErrorFields, TautlineError } from './errors.js';
import { same } from './same.js';
import { entering, trap, trapped } from './trap.js';
import { enter, leave } from './twin.js';

/** See `src/host.rs`, which declares the other side. */
export interface Host {
  error(code: ErrorCode, message: string, fields?: ErrorFields): TautlineError;
  /** A misuse that harms nothing. */
  warn(text: string): void;
  /** What the browser calls in place of `callback`: a trap that comes out of it is told to everybody. */
  shield(callback: (event?: unknown) => void): (event?: unknown) => void;
  /** Whether two values that came as JSON say the same, whatever the order of their members. */
  same(one: unknown, other: unknown): boolean;
  /** Receives the messages of a service; `exports` are the module's own functions, `tell` tells those who hear it. */
  receiver(exports: Exports, number: number, tell: (event: string, value: unknown) => void): Receiver;
  /** The module is about to trap. */
  panic(message: string): void;
  readonly twin: {
    enter(kind: string, owner: string, release: () => void): number;
    leave(id: number): void;
  };
}

/** What the loader hands to the module. */
export function createHost(): Host {
  return {
    error: (code, message, fields) => new TautlineError(code, message, fields ?? {}),
    warn: (text) => console.warn(text),
    shield: (callback) => (event) => {
      try {
        // Late words to a dead module are dropped.
        if (!trap()) entering(() => callback(event));
      } catch (error) {
        if (error !== trap()) throw error;
      }
    },
    same,
    receiver: (exports, number, tell) => new Receiver(exports, number, tell, () => trap() !== undefined),
    panic: (message) => void trapped(message),
    twin: { enter, leave },
  };
}
