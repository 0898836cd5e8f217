/**
 * The client of a Tautline relay: one live connection to a restaurant's orders, shared by whoever needs it, and a
 * ledger of every browser resource it holds. Importing it has no side effect and needs no WebAssembly.
 */
export { default, initSync } from './loader.js';
export type { InitInput, ModuleSource } from './loader.js';
export { createTautline } from './create.js';
export type { Tautline, TautlineOptions } from './create.js';
export { WebSocketService } from './service.js';
export { WebSocketPool } from './pool.js';
export type * from './pool-types.js';
export { ConnectionManager } from './manager.js';
export type { Lease } from './lease.js';
export { OrderUpdates } from './orders.js';
export type { StatusOptions } from './orders.js';
export type { EventFilter, OrderConditions } from './filter.js';
export { Recording } from './recording.js';
export { resources } from './resources.js';
export { TautlineError } from './errors.js';
export type { ErrorCode, ErrorFields, NackCode, Outcome, Stage } from './errors.js';
export type * from './order.js';
export type * from './types.js';
