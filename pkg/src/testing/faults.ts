// The faults that a test asks for by name.

import type { NackCode } from '../errors.js';

/** Which connections: that one, or all. */
export interface OnConnection {
  /** The `id` of `connections()`. */
  readonly connection?: number | undefined;
}

/** Which commands. */
export interface OnCommand {
  /** Only of this type, such as `order:create`. */
  readonly type?: string | undefined;
  /** How many of them. Default 1. */
  readonly times?: number | undefined;
}

/** Whose tokens. */
export interface OnTokens {
  /** Only this one's: the `sub` of the token. */
  readonly sub?: string | undefined;
}

/** What goes wrong, by name, with what each may be told. */
export interface Faults {
  /** The connection falls without a close frame: 1006. */
  cut: OnConnection;
  /** Nothing passes any more and nobody is told: a proxy or a radio that died. New ones neither, until it is healed. */
  silent: OnConnection;
  /** Every message takes that much longer, each way, until it is healed. */
  slow: { readonly ms: number };
  /** New connections fail, so many of them; all until it is healed when `times` is not said. */
  refuse: { readonly times?: number | undefined };
  /** The relay closes with a code, such as 4001, 1012, 4008 or 4029. */
  close: OnConnection & { readonly code: number; readonly reason?: string | undefined };
  /** The relay's process ends and is back `downMs` (1 000) later, its log `kept` (as after any restart) or `lost`, which begins a new epoch. It says so by 1012 unless `announced` is false. */
  restart: { readonly log?: 'kept' | 'lost' | undefined; readonly downMs?: number | undefined; readonly announced?: boolean | undefined };
  /** The next command is refused, and changes nothing. */
  nack: OnCommand & { readonly code: NackCode; readonly message?: string | undefined; readonly retryAfterMs?: number | undefined };
  /** The next command that is applied takes its connection with it before anything is answered. */
  'lost-ack': OnCommand;
  /** The next event is sent twice. */
  duplicate: { readonly times?: number | undefined };
  /** A frame that is no JSON, or what `text` says, is sent. */
  malformed: OnConnection & { readonly text?: string | undefined };
  /** Tokens made so far have run out: connections are closed 4001, and those tokens are `token_expired`. */
  'expire-token': OnTokens;
  /** Tokens made so far are revoked: connections are closed 4001, and those tokens are `token_invalid`. */
  revoke: OnTokens;
  /** Commands and requests are `overloaded`, and new connections fail, until it is healed. */
  overload: Record<never, never>;
}

/** The name of a fault. */
export type FaultName = keyof Faults;

/** What `fault()` takes behind the name: for some faults nothing has to be said. */
export type FaultOptions<N extends FaultName> = Record<never, never> extends Faults[N] ? [options?: Faults[N]] : [options: Faults[N]];

/** Whether a message holds an event of the log. */
export function holdsEvent(text: string): boolean {
  const frames: { type?: unknown; seq?: unknown; payload?: unknown }[] = [JSON.parse(text)].flat();
  return frames.some(({ type, seq, payload }) => typeof seq === 'number' && payload !== undefined && type !== 'ack');
}
