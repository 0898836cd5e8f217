import type { TautlineError } from './errors.js';
import type { ConnectionState, Message, MessageEvents, ServiceOptions } from './types.js';

/** Which connection a message is given to, among those that are healthy: the one that answers soonest and failed least, each in its turn, or the one with the fewest messages unanswered. */
export type LoadBalancingStrategy = 'health-based' | 'round-robin' | 'least-pending';

/** Who goes first among the messages that wait for a connection. */
export type MessagePriority = 'high' | 'normal' | 'low';

/**
 * Options of a {@link WebSocketPool}: a service's, but `urls` in place of `url` and `messageQueueSize` in place of `outboxLimit`. All times
 * are in milliseconds.
 */
export interface PoolOptions extends Omit<ServiceOptions, 'url' | 'outboxLimit' | 'outboxStorage' | 'share'> {
  /** Addresses of relays that serve the same log, or ways to one relay; each is connected to once. */
  urls: readonly string[];
  /** How many of them are connected to at once; the others are spare and take the place of one that fails. Default 5. */
  maxConnections?: number | undefined;
  /** Default `health-based`. */
  loadBalancingStrategy?: LoadBalancingStrategy | undefined;
  /** Whether messages, the primary's part and spares move away from a connection that fails. Default `true`. */
  enableFailover?: boolean | undefined;
  /** Between pings and looks at what came of them, ms. Default 5000. */
  healthCheckInterval?: number | undefined;
  /** Messages that may wait for a connection, 1 MiB in all; past it `send` rejects `outbox_full`. Default 100. */
  messageQueueSize?: number | undefined;
}

/** A message for {@link WebSocketPool.send}. */
export interface PoolMessage {
  /** What it is, as `subscribe` names it. */
  readonly type: string;
  /** Anything that JSON can hold. Default `{}`. */
  readonly data?: unknown;
  /** Orders those that wait, and changes nothing else. Default `normal`. */
  readonly priority?: MessagePriority | undefined;
  /** Its name for the server, which does the same name once; made by the pool when absent. */
  readonly id?: string | undefined;
  /** How long it may wait for a connection, ms. Default: the option `outboxTtlMs`. */
  readonly ttlMs?: number | undefined;
  /** Gives it up; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** One connection of a pool. */
export interface MemberHealth {
  /** Its address, as in `urls`. */
  readonly url: string;
  /** `disconnected` for a spare. */
  readonly state: ConnectionState;
  /** Connected, and trusted: it has neither missed two pings nor been lost, or has answered two pings since. */
  readonly healthy: boolean;
  /** Messages without a number are taken from this one, and its history is the pool's. */
  readonly primary: boolean;
  /** Average round trip of its pings, ms, each new one counting an eighth; `null` before the first. */
  readonly latencyMs: number | null;
  /** Connections and attempts that failed within the last minute, and times that two pings in a row were missed. */
  readonly failures: number;
  /** Pings in a row without an answer. */
  readonly missedPings: number;
  /** Messages it has not answered. */
  readonly pending: number;
}

/** What a pool has been through. Counters count since it was made. */
export interface PoolStatistics {
  /** Messages taken. */
  readonly sent: number;
  /** Those that were answered or given up. */
  readonly settled: number;
  /** Those that wait for a connection. */
  readonly queued: number;
  /** Those that a connection has not answered. */
  readonly pending: number;
  /** Times that one was taken back from a connection that failed, to go by another. */
  readonly moved: number;
  /** Times that another connection became the primary. */
  readonly failovers: number;
  /** Numbered events delivered. */
  readonly events: number;
  /** Those that another connection had brought already. */
  readonly duplicates: number;
}

/** Values of a pool's events, by name. */
export interface PoolEvents extends MessageEvents {
  /** The state changed; its new value. `connected` as soon as one connection is. */
  stateChange: ConnectionState;
  /** Another connection is the primary now. */
  failover: { readonly from: string; readonly to: string };
  /** A connection can be relied on, or can no more. */
  health: MemberHealth;
  /** The events after `from` up to `to` were missed: no connection could bring them. Fetch what you show of them. */
  gap: { readonly from: number; readonly to: number };
  /** Something went wrong that no call of the page's is there to reject. */
  error: TautlineError;
  /** Any published message. */
  message: Message;
  /** A published message of one type, such as `message:notification`. */
  [type: `message:${string}`]: Message;
  /** The same for a type that has a colon, such as `order:created`. */
  [type: `${string}:${string}`]: Message;
}
