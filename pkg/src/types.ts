import './symbols.js';
import type { ErrorCode, NackCode, Outcome, TautlineError } from './errors.js';
import type { ItemStatus, Order, OrderStatus } from './order.js';

/**
 * The connection as the page sees it: not wanted, first attempt, connected **and authenticated**, lost and coming
 * back, given up until something changes.
 */
export type ConnectionState = 'disconnected' | 'connecting' | 'connected' | 'reconnecting' | 'error';

/** Whose connection a service uses: that of all tabs, as the one that leads or not, or one of its own. */
export type Role = 'leader' | 'follower' | 'solo';

/** Why `getToken` is called: a new attempt, before the token runs out, after it ran out, after it was refused. */
export type TokenReason = 'connect' | 'renew' | 'expired' | 'rejected';

/** What `getToken` is told. */
export interface TokenRequest {
  /** Why it is asked for. */
  readonly reason: TokenReason;
  /** The attempt of this series of reconnects, from 1. */
  readonly attempt: number;
}

/** Options of a {@link WebSocketService}. All times are in milliseconds. */
export interface ServiceOptions {
  /**
   * Where the server is: `ws(s)://`, `http(s)://` or a path on this page's host; a function is asked before every
   * attempt. Of a list, relays of one log, the one that failed least in the last minute is next, of equals the first: one
   * that cannot be reached is followed by the next at once, one that was lost after the backoff's wait. Default: this
   * page's host, `/ws`.
   */
  url?: string | readonly string[] | (() => string | Promise<string>) | undefined;
  /** Sent in `auth`, and as `?restaurant_id=`. Default: none; a token that names one restaurant is enough. */
  restaurantId?: string | undefined;
  /**
   * Gives a token: called before every attempt, before the token runs out, and after a refusal. `null` = none now,
   * try later. Default: none, the service connects without auth.
   */
  getToken?: ((request: TokenRequest) => string | null | Promise<string | null>) | undefined;
  /** First backoff step, ms; each step doubles. Default 2000. */
  reconnectInterval?: number | undefined;
  /** Cap of a backoff step, ms; the wait is drawn at random below it. Default 30000. */
  maxReconnectDelay?: number | undefined;
  /** Attempts in a row before state `error`. Default `Infinity`. */
  maxReconnectAttempts?: number | undefined;
  /** The whole attempt, ms: url, token, socket, auth. Default 15000. */
  connectTimeout?: number | undefined;
  /** Between pings, ms; the server may lower it. Default 30000. */
  heartbeatInterval?: number | undefined;
  /** How long a ping may go unanswered, ms of time in which the page could run. Default 10000. */
  pongTimeoutMs?: number | undefined;
  /** Messages that `send` keeps while offline; 1 MiB in all. Default 1000. */
  outboxLimit?: number | undefined;
  /** How long such a message may wait, ms. Default 60000. */
  outboxTtlMs?: number | undefined;
  /**
   * Where such messages wait. `'indexeddb'`: on the disk, from before they are sent until they are answered, so that they outlive a
   * crash, a reload or the tab; the next service for the same server and user sends each once, or tells why not (`outbox()`).
   * Where the browser has no storage for it an `error` event says so (`storage_unavailable`), and memory has to do. Default `'memory'`.
   */
  outboxStorage?: 'memory' | 'indexeddb' | undefined;
  /** Between tries for a new token after auth was refused, ms; 0 = never. Default 300000. */
  authProbeInterval?: number | undefined;
  /** Without a confirmed position until `stale`, ms. Default: two heartbeats. */
  staleAfter?: number | undefined;
  /** Shown to operators: which screen this is. Default: none. */
  client?: { readonly name: string; readonly version?: string | undefined } | undefined;
  /** Also offer `tautline.v1` as a WebSocket subprotocol; only for servers known to echo it. Default false. */
  subprotocol?: boolean | undefined;
  /**
   * `device`: one connection for all tabs of the page's origin whose `url`, `restaurantId`, filter and token's bearer (`sub`, role, and
   * whatever else it claims) are the same; each tab keeps its own subscriptions, position and outbox. Held by a SharedWorker, or by one of
   * the tabs. Needs `getToken`, Web Locks and BroadcastChannel, so a secure context; without them, and with a server of the plain dialect,
   * each has its own. Default `none`.
   */
  share?: 'none' | 'device' | undefined;
  /** The resource ledger keeps where each resource was made; console logging, tokens redacted. Default false. */
  debug?: boolean | undefined;
}

/** Options of `connect`. */
export interface ConnectOptions {
  /** Ends the wait: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Ends the wait after that many ms with `connect_timeout`. Default: no end but those of the service's options. */
  timeoutMs?: number | undefined;
}

/** Options of `send`. */
export interface SendOptions {
  /** Names the message, so that the server applies it once however often it is sent. Default: made here. */
  id?: string | undefined;
  /** How long it may wait for a connection, ms. Default: `outboxTtlMs`. */
  ttlMs?: number | undefined;
  /** Withdraws it, as `cancel()` does. */
  signal?: AbortSignal | undefined;
}

/** Options of `request`. */
export interface RequestOptions {
  /** How long to wait for the answer, ms. Default 10000. */
  timeoutMs?: number | undefined;
  /** Ends the wait: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Names the message, so that the server applies it once however often it is sent. Default: made here. */
  id?: string | undefined;
}

/** What the server answered to a message. */
export interface Ack<R = unknown> {
  /** The message's id. */
  readonly id: string;
  /** The history that `seq` counts in; absent where nothing changed or the server numbers nothing. */
  readonly epoch?: string;
  /** The event the message made. */
  readonly seq?: number;
  /** What the server says about it; absent from a server that answers nothing. */
  readonly result?: R;
}

/** Where a message is: waiting here, written, answered (or written to a server that does not answer), failed. */
export type SendStatus = 'queued' | 'sent' | 'done' | 'failed';

/** A message on its way. */
export interface SendHandle {
  /** The message's id. */
  readonly id: string;
  /** Where it is now. */
  readonly status: SendStatus;
  /** Resolves when the server has answered; from a server that answers nothing, when it was written. */
  readonly done: Promise<Ack>;
  /** Withdraws it if it was not written yet: `done` rejects `aborted`. Answers whether that was still possible. */
  cancel(): boolean;
}

/** A message in the outbox. */
export interface Entry {
  /** The message's id. */
  readonly id: string;
  /** The message's type. */
  readonly type: string;
  /**
   * Not written yet, written and not settled, or (`outboxStorage`) refused for good or too old, and set aside: `retry(id)` and
   * `discard(id)` are for these.
   */
  readonly status: 'queued' | 'sent' | 'failed';
  /** How long ago it was handed over, ms. */
  readonly ageMs: number;
  /** Another page left it here when it ended: no promise waits for it. */
  readonly adopted?: true;
  /** Why it was set aside. */
  readonly reason?: SetAside;
}

/** Why a message was set aside, as its promise would have told. */
export interface SetAside {
  /** `nack`, `outbox_expired` or `message_too_large`. */
  readonly code: ErrorCode;
  /** What there is to be said of it; for people who develop. */
  readonly message: string;
  /** `nack`: why the server refused. */
  readonly nackCode?: NackCode;
  /** Whether it may have been applied all the same. */
  readonly outcome?: Outcome;
  /** When, ms since 1970 by this device's clock. */
  readonly atMs: number;
}

/** A frame as it came, the engine's own object. */
export interface Message<P = unknown> {
  /** What happened, such as `order:created`. */
  readonly type: string;
  /** What it is about. */
  readonly payload: P;
  /** Its number in the restaurant's log; absent from a server that numbers nothing. */
  readonly seq?: number;
  /** The history that `seq` counts in. */
  readonly epoch?: string;
  /** Whose it is. */
  readonly restaurant_id?: string;
  /** RFC 3339. */
  readonly timestamp?: string;
}

/** Payloads by message type; a page adds its own by declaration merging. */
export interface TautlineMessages {
  /** An order was made. */
  'order:created': { readonly order: Order };
  /** An order has changed. */
  'order:updated': { readonly order: Order };
  /** An order is gone. */
  'order:deleted': { readonly order_id: string; readonly reason?: string };
  /** An order went on. */
  'order:status_changed': {
    readonly order_id: string;
    readonly status: OrderStatus;
    readonly previous_status?: OrderStatus;
    readonly updated_by?: string;
    readonly reason?: string;
  };
  /** A line of an order went on. */
  'order:item_status_changed': {
    readonly order_id: string;
    readonly item_id: string;
    readonly status: ItemStatus;
    readonly previous_status?: ItemStatus;
    readonly updated_by?: string;
  };
  /** Orders that were over have left the live set. */
  'orders:archived': { readonly order_ids: readonly string[] };
}

/** "Everything up to `confirmedAtMs` is here." */
export interface Freshness {
  /** The position in the restaurant's log; `null` before the first. */
  readonly seq: number | null;
  /** When the server last confirmed that nothing is missing, ms since 1970 by this device's clock; `null` = never. */
  readonly confirmedAtMs: number | null;
  /** How long ago that was, ms. */
  readonly ageMs: number | null;
  /** Whether it is younger than `staleAfter` on an open connection. */
  readonly live: boolean;
}

/** What the service has been through. Counters count since it was made. */
export interface Stats {
  /** Connections that authenticated. */
  readonly connects: number;
  /** Connections that went on where the last one ended, without a snapshot. */
  readonly resumes: number;
  /** Times that events were missed and a snapshot had to mend it. */
  readonly gaps: number;
  /** Events that came a second time and were dropped. */
  readonly duplicates: number;
  /** Snapshots installed. */
  readonly snapshots: number;
  /** Events delivered. */
  readonly events: number;
  /** Words of sockets and promises of earlier attempts, dropped. */
  readonly staleInputs: number;
  /** Attempts begun. */
  readonly attempts: number;
  /** Round trip of the last ping, ms; `null` before the first. */
  readonly rttMs: number | null;
  /** Until the next attempt, ms; `null` when none is planned. */
  readonly nextAttemptInMs: number | null;
  /** The position in the restaurant's log; `null` before the first. */
  readonly lastSeq: number | null;
  /** Whether nothing was confirmed for longer than `staleAfter`. */
  readonly stale: boolean;
  /** Whether the browser says it has no network. */
  readonly offline: boolean;
  /** What waits to be sent, or for its answer. */
  readonly outbox: {
    readonly length: number;
    /** Age of the oldest entry, ms; `null` when empty. */
    readonly oldestMs: number | null;
  };
}

/** The messages whose payload {@link TautlineMessages} knows, as events: `message:<type>`, or the type itself where it has a colon. */
export type MessageEvents = {
  readonly [T in keyof TautlineMessages & string as `message:${T}` | (T extends `${string}:${string}` ? T : never)]: Message<TautlineMessages[T]>;
};

/** Values of the events, by name; a page adds its own message types by merging them into {@link TautlineMessages}. */
export interface TautlineEvents extends MessageEvents {
  /** The state changed; its new value. */
  stateChange: ConnectionState;
  /** With `share: 'device'`, whose connection it is now; also by `role()`. */
  role: Role;
  /** Connected and authenticated. */
  connected: undefined;
  /** The socket closed. */
  disconnected: { readonly code: number; readonly reason: string; readonly wasClean: boolean; readonly willReconnect: boolean };
  /** Another attempt follows in `delayMs`. */
  reconnecting: { readonly attempt: number; readonly delayMs: number };
  /** Given up: `maxReconnectAttempts` in a row failed. */
  maxReconnectAttemptsReached: undefined;
  /** Reconnected without a gap: the events after `from` up to `to` follow. */
  resumed: { readonly from: number; readonly to: number };
  /** Events were missed; a snapshot mends it. */
  gap: { readonly from: number; readonly to: number };
  /** Nothing was confirmed for longer than `staleAfter`. */
  stale: Freshness;
  /** Confirmed again. */
  fresh: Freshness;
  /** The server's store is out of reach: reads go on, changes are refused. */
  degraded: { readonly since?: string };
  /** Something went wrong that no call of the page's is there to reject. */
  error: TautlineError;
  /** Any published message. */
  message: Message;
  /** A published message of one type, such as `message:notification`. */
  [type: `message:${string}`]: Message;
  /** The same for a type that has a colon, such as `order:created`. */
  [type: `${string}:${string}`]: Message;
  /** A ping came back. */
  latency: { readonly rttMs: number };
}

/** What the ledger counts. */
export type ResourceKind =
  | 'socket'
  | 'socket_closing'
  | 'shared_socket'
  | 'lock'
  | 'channel'
  | 'worker'
  | 'timer'
  | 'listener'
  | 'closure'
  | 'fetch'
  | 'peer_connection'
  | 'data_channel'
  | 'media_track'
  | 'audio_element'
  | 'audio_context'
  | 'worklet'
  | 'lease'
  | 'iterator'
  | 'database'
  | 'lock'
  | 'channel';

/** One resource on the ledger. */
export interface Resource {
  /** Names it while it is there. */
  readonly id: number;
  /** Of this package's, or what a page called its own. */
  readonly kind: ResourceKind | (string & {});
  /** What holds it. */
  readonly owner: string;
  /** How long it has been there, ms. */
  readonly ageMs: number;
  /** Where it was made, with `debug`. */
  readonly stack?: string;
}

/** Who goes first at `shutdownAll()`. */
export type Priority = 'critical' | 'high' | 'medium' | 'low';

/** Something of the page's own to be let go of at `shutdownAll()`. */
export interface Registration {
  /** Named in reports. */
  name: string;
  /** Counted under this. */
  kind: ResourceKind | (string & {});
  /** When its turn is. */
  priority: Priority;
  /** Has a second; a later end is not waited for. */
  cleanup: () => void | Promise<void>;
}

/** How much memory the module uses, and which way it goes. */
export interface MemoryReport {
  /** Of WebAssembly memory, which grows and never shrinks; 0 before `init()`. */
  readonly wasmBytes: number;
  /** Of the page's JavaScript heap, where the browser tells. */
  readonly jsHeapBytes?: number;
  /** Of the ledger's entries, of WebAssembly, else of the heap: over the calls of the last half hour, by `evidence`. */
  readonly trend: 'growing' | 'stable' | 'shrinking';
  /** One of them grows: surely, by a tenth at least, and not as a saw-tooth does that the collector brings down again. */
  readonly leakWarning: boolean;
  /** What that rests on, for each; `null` where the calls were too few, or within five minutes. */
  readonly evidence: { readonly entries: MemorySlope | null; readonly wasmBytes: MemorySlope | null; readonly jsHeapBytes: MemorySlope | null };
}

/** How a quantity goes: its floor over equal spans of time, the median of all slopes between them, and how sure that is. */
export interface MemorySlope {
  /** By how much an hour. */
  readonly perHour: number;
  /** The lower of the bounds that `perHour` is in with a confidence of 99.9 %. */
  readonly low: number;
  /** The upper. */
  readonly high: number;
  /** Measurements it is drawn from. */
  readonly samples: number;
  /** The time they span, ms. */
  readonly spanMs: number;
}

/** Options of a {@link ConnectionManager}. */
export interface ManagerOptions {
  /** How long the connection is kept after its last holder has let go, ms. Default 1000. */
  lingerMs?: number | undefined;
}

/** What a {@link ConnectionManager} holds. */
export interface ManagerStatus {
  /** Connected and authenticated. */
  readonly isConnected: boolean;
  /** A first attempt is under way, or a later one after a loss. */
  readonly isConnecting: boolean;
  /** Holders: leases and `connect()` calls without their `disconnect()`. */
  readonly connectionCount: number;
}
