// What the client holds, off its own ledger, that it did not before the relay was installed.

import { ledger } from '../twin.js';
import { replace } from './globals.js';
import type { Resource } from '../types.js';

/** Frames of a stack: most of an entry's are the client's own. */
const FRAMES = 50;
/** Of them, what an error shows. */
const SHOWN = 5;
/** Where this package is, when it is not in a bundle. */
const [, HOME] = /^(.*\/)testing\/held\.js/.exec(import.meta.url) ?? [];
const isOwn = (frame: string) => (HOME !== undefined && frame.includes(HOME)) || /wasm:\/\/|\/wasm\/tautline\.js|node:/.test(frame);

/** Entries are numbered in the order in which they are made. */
export function mark(): number {
  return ledger().nextId;
}

/** From here on entries keep where they were made, as far down as the test's own code. Gives what ends it. */
export function keepStacks(): () => void {
  const [deeper, kept] = [replace(Error, 'stackTraceLimit', FRAMES), replace(ledger(), 'stacks', true)];
  return () => {
    kept();
    deeper();
  };
}

export function heldSince(first: number): Resource[] {
  const now = performance.now();
  return [...ledger().entries]
    .filter(([id]) => id >= first)
    .map(([id, { kind, owner, since, stack }]) => ({ id, kind, owner, ageMs: now - since, ...(stack === undefined ? {} : { stack }) }));
}

/** Ends the client's objects that were made since. */
export function endSince(first: number): void {
  for (const [id, object] of [...ledger().objects]) if (id >= first) void object.deref()?.shutdown();
}

/** As an error says it. */
export function described(held: readonly Resource[]): string {
  const frames = (stack = '') => stack.split('\n').map((frame) => frame.trim()).filter((frame) => frame !== '' && !isOwn(frame)).slice(0, SHOWN);
  return held.flatMap(({ kind, owner, stack }) => [`  ${kind}: ${owner}`, ...frames(stack).map((frame) => `    ${frame}`)]).join('\n');
}
