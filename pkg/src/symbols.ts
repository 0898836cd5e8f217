/**
 * `Symbol.dispose`, or what polyfills and compilers use where the engine has none: `using` works with both.
 */
export const dispose: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for('Symbol.dispose') as typeof Symbol.dispose);
