// Argument checks: each throws `invalid_argument` with what to pass instead, or answers the value in the shape the
// module takes.

import { TautlineError, invalid } from './errors.js';
import type { OrderStatus } from './order.js';

/** Every state of an order. */
export const STATUSES: readonly OrderStatus[] = ['new', 'pending', 'confirmed', 'preparing', 'ready', 'picked-up', 'completed', 'cancelled'];

/** What a message and an id may be named. */
const ID = /^[A-Za-z0-9._~-]{1,64}$/;

export function functionOf<F extends (...args: never[]) => unknown>(what: string, value: F): F {
  if (typeof value !== 'function') throw invalid(`${what} takes a function`, value);
  return value;
}

export function text(what: string, value: string): string {
  if (typeof value !== 'string' || value === '') throw invalid(`${what} takes a string that is not empty`, value);
  return value;
}

/** A message's type, a prefix of types, or all. */
export function patternOf(what: string, value: string): string {
  const star = text(what, value).indexOf('*');
  if (value.startsWith('\n') || (star >= 0 && (star < value.length - 1 || (value !== '*' && !value.endsWith(':*'))))) {
    throw invalid(`${what} takes a type such as order:created, a prefix such as order:*, or *`, value);
  }
  return value;
}

export function optionalText(what: string, value: string | undefined): string | undefined {
  return value === undefined ? undefined : text(what, value);
}

export function optionalBoolean(what: string, value: boolean | undefined): boolean | undefined {
  if (value !== undefined && typeof value !== 'boolean') throw invalid(`${what} takes true or false`, value);
  return value;
}

/** A whole number of at least `least`. */
export function optionalCount(what: string, value: number | undefined, least = 0): number | undefined {
  if (value !== undefined && !(Number.isSafeInteger(value) && value >= least)) {
    throw invalid(`${what} takes a whole number of at least ${least}`, value);
  }
  return value;
}

/** Milliseconds of at least `least`; fractions are rounded up, so that a wait is never shorter than asked for. */
export function optionalMs(what: string, value: number | undefined, least = 0): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < least) {
    throw invalid(`${what} takes milliseconds, a number of at least ${least}`, value);
  }
  return Math.ceil(value);
}

export function optionalSignal(what: string, value: AbortSignal | undefined): AbortSignal | undefined {
  if (value !== undefined && !(value instanceof AbortSignal)) throw invalid(`${what} takes an AbortSignal`, value);
  return value;
}

export function optionalId(what: string, value: string | undefined): string | undefined {
  if (value !== undefined && !(typeof value === 'string' && ID.test(value))) {
    throw invalid(`${what} takes 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -`, value);
  }
  return value;
}

export function oneOf<T extends string>(what: string, values: readonly T[], value: T): T {
  if (!values.includes(value)) throw invalid(`${what} takes one of ${values.join(', ')}`, value);
  return value;
}

/** An options object; absent is empty. */
export function optionsOf<T extends object>(what: string, value: T | undefined): T {
  if (value === undefined) return {} as T;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${what} takes an object`, value);
  return value;
}

/** A payload as JSON text; absent is an empty object. */
export function json(what: string, value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value === undefined ? {} : value);
  } catch (cause) {
    throw new TautlineError('invalid_argument', `${what} takes a value that JSON can hold: no cycles, no BigInt`, { cause });
  }
  if (text === undefined) throw invalid(`${what} takes a value that JSON can hold`, value);
  return text;
}

/** The members that are not `undefined`. */
export function present<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
