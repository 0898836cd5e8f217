// What every entry has, wherever its WebAssembly comes from: one set of classes, however many entries a page imports.

export { initSync } from './load.js';
export type { InitInput, ModuleSource } from './load.js';
export type { Tautline, TautlineOptions } from './create.js';
export { WebSocketService } from './service.js';
export type { MessagesOptions } from './messages.js';
export { WebSocketPool } from './pool.js';
export * from './pool-types.js';
export { ConnectionManager } from './manager.js';
export type { Lease } from './lease.js';
export { OrderUpdates } from './orders.js';
export type { StatusOptions } from './orders.js';
export type { EventFilter, OrderConditions } from './filter.js';
export { Recording } from './recording.js';
export { resources } from './resources.js';
export { TautlineError } from './errors.js';
export type { ErrorCode, ErrorFields, NackCode, Outcome, Stage } from './errors.js';
export * from './order.js';
export * from './types.js';
