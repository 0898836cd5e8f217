/** Every `code` of a {@link TautlineError}; the same list as `ErrorCode` of the protocol crate. */
export const ERROR_CODES = [
  'not_initialized',
  'internal',
  'auth_failed',
  'auth_forbidden',
  'auth_expired',
  'connect_failed',
  'connect_timeout',
  'aborted',
  'disposed',
  'outbox_full',
  'outbox_expired',
  'storage_unavailable',
  'message_too_large',
  'nack',
  'request_timeout',
  'protocol',
  'overflow',
  'wasm_unavailable',
  'invalid_argument',
  'callback',
  'http_failed',
  'microphone_denied',
  'microphone_dismissed',
  'microphone_missing',
  'microphone_in_use',
  'microphone_overconstrained',
  'microphone_ended',
  'microphone_failed',
  'insecure_context',
  'sdp_exchange_failed',
  'ice_failed',
  'needs_gesture',
  'realtime_error',
] as const;

/** Why something could not be. A closed set: a `switch` over it can be complete. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** Every `nackCode`; the same list as `NackCode` of the protocol crate. */
export const NACK_CODES = [
  'invalid_transition',
  'not_found',
  'conflict',
  'forbidden',
  'invalid',
  'id_reused',
  'rate_limited',
  'overloaded',
  'unavailable',
] as const;

/** Why the server refused a command. */
export type NackCode = (typeof NACK_CODES)[number];

/** Every `outcome`; the same list as `Outcome` of the protocol crate. */
export const OUTCOMES = ['not_applied', 'unknown', 'not_sent'] as const;

/** Whether a command that failed changed something: certainly not, perhaps, or it never left this page. */
export type Outcome = (typeof OUTCOMES)[number];

/** Every `stage`; the same list as `Stage` of the protocol crate. */
export const STAGES = [
  'url',
  'token',
  'socket',
  'auth',
  'microphone',
  'offer',
  'exchange',
  'answer',
  'ice',
  'channel',
  'settings',
] as const;

/** The part of a connection attempt in which it failed. */
export type Stage = (typeof STAGES)[number];

/** Codes for which trying the same again can help; `nack`, `http_failed`, `sdp_exchange_failed` say so one by one. */
const RETRYABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'connect_failed',
  'connect_timeout',
  'outbox_full',
  'outbox_expired',
  'request_timeout',
  'auth_expired',
  'http_failed',
  'microphone_dismissed',
  'microphone_in_use',
  'microphone_ended',
  'ice_failed',
  'needs_gesture',
]);

/** What a {@link TautlineError} carries beside its code and message, where it applies. */
export interface ErrorFields {
  /** What it came from. */
  readonly cause?: unknown;
  /** Overrides what the code says about trying again. */
  readonly retryable?: boolean | undefined;
  /** Whether the command may have been applied. */
  readonly outcome?: Outcome | undefined;
  /** Why the server refused. */
  readonly nackCode?: NackCode | undefined;
  /** The WebSocket close code that ended the connection. */
  readonly closeCode?: number | undefined;
  /** The reason that came with it. */
  readonly closeReason?: string | undefined;
  /** The HTTP status. */
  readonly status?: number | undefined;
  /** What was waited for, ms. */
  readonly timeoutMs?: number | undefined;
  /** When the server says to try again, ms from now. */
  readonly retryAfterMs?: number | undefined;
  /** How far the attempt came. */
  readonly stage?: Stage | undefined;
  /** The code of the server's own. */
  readonly serverCode?: string | undefined;
}

/**
 * Whatever goes wrong in this package is one of these; `code` tells what, and never changes its meaning.
 *
 * ```ts
 * try { await orders.updateOrderStatus(id, 'ready'); }
 * catch (error) {
 *   if (error instanceof TautlineError && error.retryable) offerToTryAgain();
 * }
 * ```
 */
export class TautlineError extends Error {
  /** What went wrong, from a closed set. */
  readonly code: ErrorCode;
  /** Whether the same call can succeed later without being changed. */
  readonly retryable: boolean;
  /** `nack`, `request_timeout`, `outbox_expired`, …: whether the command may have been applied. */
  declare readonly outcome?: Outcome;
  /** `nack`: why the server refused. */
  declare readonly nackCode?: NackCode;
  /** The WebSocket close code that ended the connection. */
  declare readonly closeCode?: number;
  /** The reason that came with it. */
  declare readonly closeReason?: string;
  /** `http_failed`, `sdp_exchange_failed`, `auth_failed`, …: the HTTP status; absent when no answer came. */
  declare readonly status?: number;
  /** `request_timeout`, `connect_timeout`: the time that was allowed, ms. */
  declare readonly timeoutMs?: number;
  /** `nack`: when the server would take it, ms from now. */
  declare readonly retryAfterMs?: number;
  /** `connect_failed`, `connect_timeout`, …: the part of the attempt that failed. */
  declare readonly stage?: Stage;
  /** `realtime_error`, `sdp_exchange_failed`: the server's own code, such as `invalid_offer`. */
  declare readonly serverCode?: string;

  constructor(code: ErrorCode, message: string, fields: ErrorFields = {}) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.name = code === 'aborted' ? 'AbortError' : 'TautlineError';
    this.code = code;
    this.retryable = fields.retryable ?? RETRYABLE.has(code);
    if (fields.outcome !== undefined) this.outcome = fields.outcome;
    if (fields.nackCode !== undefined) this.nackCode = fields.nackCode;
    if (fields.closeCode !== undefined) this.closeCode = fields.closeCode;
    if (fields.closeReason !== undefined) this.closeReason = fields.closeReason;
    if (fields.status !== undefined) this.status = fields.status;
    if (fields.timeoutMs !== undefined) this.timeoutMs = fields.timeoutMs;
    if (fields.retryAfterMs !== undefined) this.retryAfterMs = fields.retryAfterMs;
    if (fields.stage !== undefined) this.stage = fields.stage;
    if (fields.serverCode !== undefined) this.serverCode = fields.serverCode;
  }
}

/** @internal A wrong argument: what the method takes, and what it got. */
export function invalid(takes: string, got: unknown): TautlineError {
  return new TautlineError('invalid_argument', `${takes}; got ${shown(got)}`);
}

function shown(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return value.length > 40 ? `a string of ${value.length} characters` : JSON.stringify(value);
  if (typeof value === 'number' || typeof value === 'boolean' || value === undefined) return String(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (Array.isArray(value)) return 'an array';
  return `a ${typeof value}`;
}
