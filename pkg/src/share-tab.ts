// What the hub knows of a tab, and what it has done.

import { endOf } from './share-key.js';
import type { Frame } from './share-log.js';

/** Handed over: a client's own code, after which it comes back at once with what it has (`docs/protocol.md`, Close codes). */
export const HANDED_OVER = 4104;

/** What is to be done, in order. */
export type Act =
  /** Open the connection to the relay, write to it, let go of it. */
  | { readonly do: 'open' }
  | { readonly do: 'write'; readonly text: string }
  | { readonly do: 'shut'; readonly code: number; readonly reason: string }
  /** A message for tabs; the end of a tab's connection. */
  | { readonly do: 'send'; readonly ports: readonly string[]; readonly text: string }
  | { readonly do: 'end'; readonly port: string; readonly code: number; readonly reason: string }
  /** The server is none to be shared: it numbers no events, or asks for no token. */
  | { readonly do: 'alone' }
  /** Call `tick` then, and at no other time; `undefined`: not at all. */
  | { readonly do: 'wake'; readonly at: number | undefined };

/** Where acts are gathered. */
export interface Out {
  send(ports: readonly string[], text: string): void;
  write(text: string): void;
  /** Ends a tab's connection. */
  end(port: string, code: number, reason: string): void;
  /** The hub is to look again then. */
  at(time: number): void;
}

/** A tab's connection. */
export interface Tab {
  readonly port: string;
  auth: Frame;
  /** When its token runs out, ms since 1970. */
  ends: number | undefined;
  /** Whether it was told `auth:success`. */
  live: boolean;
  /** Everything up to there has been sent to it. */
  position: number | undefined;
  /** Where it goes on from, when the log begins only after that. */
  behind: number | undefined;
  /** The id of the snapshot that it waits for. */
  wants: string | undefined;
  /** It is told when all that it asked for has been sent. */
  resuming: boolean;
  /** The times of its pings that wait for one of ours to be sent, and for that one's answer. */
  pings: unknown[];
  pinged: unknown[];
}

/** A tab that begins with this `auth`. */
export function tabOf(port: string, auth: Frame): Tab {
  const ends = endOf(auth.token);
  return { port, auth, ends, live: false, position: undefined, behind: undefined, wants: undefined, resuming: false, pings: [], pinged: [] };
}
