/**
 * The client of a Tautline relay: one live connection to a restaurant's orders, shared by whoever needs it, and a
 * ledger of every browser resource it holds. Importing it has no side effect and needs no WebAssembly.
 */
export { default, createTautline } from './loader.js';
export * from './parts.js';
