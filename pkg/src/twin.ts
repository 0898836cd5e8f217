// The ledger's JavaScript side: every browser resource that the package holds is entered here before it exists and
// leaves when it is let go. It is in JavaScript because it must outlive a trap of the module: `releaseAll` then lets
// go of everything without entering WebAssembly again. Two copies of the package on one page share one ledger, so
// what is shared is plain data and every copy brings its own functions.

import type { TautlineError } from './errors.js';
import type { Priority } from './types.js';

/** A resource, as kept. */
export interface LedgerEntry {
  readonly kind: string;
  readonly owner: string;
  /** By `performance.now()`. */
  readonly since: number;
  readonly stack?: string;
  /** The copy of the package it belongs to. */
  readonly copy: symbol;
  /** Lets go of it without WebAssembly. */
  readonly release: () => void;
}

/** Something `shutdownAll()` ends: an object of this package's, or what a page has registered. */
export interface Managed {
  readonly name: string;
  readonly priority: Priority;
  shutdown(): void | Promise<void>;
}

/** An object of this package's. */
export interface ManagedObject extends Managed {
  readonly copy: symbol;
  /** The module of its copy is dead; answers whether the page heard the error from it. */
  trapped(error: TautlineError): boolean;
}

/** What is shared under `Symbol.for('tautline.resources')`. */
export interface Ledger {
  readonly version: 1;
  nextId: number;
  /** Whether entries keep the stack they were made on. */
  stacks: boolean;
  readonly entries: Map<number, LedgerEntry>;
  /** Weak, so that an object the page forgot can be collected, and let go of its socket. */
  readonly objects: Map<number, WeakRef<ManagedObject>>;
  readonly registrations: Map<number, Managed>;
  readonly watchers: Map<number, () => void>;
  /** Whether the watchers are about to be told. */
  telling: boolean;
}

/** This copy of the package. */
export const COPY = Symbol('tautline');

const KEY = Symbol.for('tautline.resources');

/** The page's ledger, made when first needed: importing the package leaves the page as it was. */
export function ledger(): Ledger {
  const page = globalThis as { [KEY]?: Ledger };
  return (page[KEY] ??= {
    version: 1,
    nextId: 1,
    stacks: false,
    entries: new Map(),
    objects: new Map(),
    registrations: new Map(),
    watchers: new Map(),
    telling: false,
  });
}

/** Enters a resource; `release` must not need WebAssembly. Answers its number. */
export function enter(kind: string, owner: string, release: () => void): number {
  const book = ledger();
  const id = book.nextId++;
  const entry = { kind, owner, since: performance.now(), copy: COPY, release };
  book.entries.set(id, book.stacks ? { ...entry, stack: stackHere() } : entry);
  tell(book);
  return id;
}

/** The resource is let go; twice does nothing. */
export function leave(id: number): void {
  const book = ledger();
  if (book.entries.delete(id)) tell(book);
}

/**
 * Lets go of every resource of this copy, newest first. Answers the release functions: as long as somebody keeps
 * them, the collector does not run destructors of a module that is dead.
 */
export function releaseAll(): readonly (() => void)[] {
  const book = ledger();
  const released: (() => void)[] = [];
  for (const [id, entry] of [...book.entries].reverse()) {
    if (entry.copy !== COPY) continue;
    book.entries.delete(id);
    released.push(entry.release);
    try {
      entry.release();
    } catch {
      // One that cannot be let go must not keep the others; there is nobody left to tell.
    }
  }
  if (released.length > 0) tell(book);
  return released;
}

/** Calls `watcher` soon after the ledger has changed, once for any number of changes in a turn. */
export function watch(watcher: () => void): () => void {
  const book = ledger();
  const id = book.nextId++;
  book.watchers.set(id, watcher);
  return () => void book.watchers.delete(id);
}

/** Later, because the change may be in the middle of a turn of the module's, which must not be entered again. */
function tell(book: Ledger): void {
  if (book.telling || book.watchers.size === 0) return;
  book.telling = true;
  queueMicrotask(() => {
    book.telling = false;
    for (const watcher of [...book.watchers.values()]) {
      try {
        watcher();
      } catch (error) {
        console.error(error);
      }
    }
  });
}

/** Where the caller of the function that asks was called, in the engine's words. */
export function stackHere(): string {
  const lines = (new Error().stack ?? '').split('\n');
  // Engines that begin with the error's name have this function's line second.
  return lines.slice(lines[0]?.startsWith('Error') ? 3 : 2).join('\n');
}
