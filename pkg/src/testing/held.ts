// What the client holds, off its own ledger, that it did not before the relay was installed.

import { ledger } from '../twin.js';
import { replace } from './globals.js';
import type { Resource } from '../types.js';

/** Frames of a stack: most of an entry's are the client's own. */
const FRAMES = 50;
/** Of them, what an error shows. */
const SHOWN = 5;
/** Where this package is, when it is not in a bundle. */
const [, HOME] = /^(?:file:\/\/)?(.*\/)testing\/held\.js/.exec(import.meta.url) ?? [];
/** Whoever made it is among the rest. */
const isOthers = (frame: string) => (HOME !== undefined && frame.includes(HOME)) || /wasm:\/\/|\/wasm\/tautline\.js|node:|\/node_modules\/|^node_modules\//.test(frame);

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

/** As an error says it: those of a kind that were made at one place together. */
export function described(held: readonly Resource[]): string {
  const groups = new Map<string, { readonly kind: string; readonly owners: string[]; readonly at: readonly string[] }>();
  for (const { kind, owner, stack = '' } of held) {
    const at = stack.split('\n').map((frame) => frame.trim()).filter((frame) => frame !== '' && !isOthers(frame)).slice(0, SHOWN);
    const key = [kind, ...at].join('\n');
    const group = groups.get(key) ?? { kind, owners: [], at };
    group.owners.push(owner);
    groups.set(key, group);
  }
  return [...groups.values()].flatMap(({ kind, owners, at }) => [`  ${kind}: ${owners.join(', ')}`, ...at.map((frame) => `    ${frame}`)]).join('\n');
}
