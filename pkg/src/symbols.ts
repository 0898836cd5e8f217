declare global {
  // What `lib.esnext.disposable` says, for compilers and settings that do not have it: TypeScript before 5.2, ES2022.
  interface SymbolConstructor {
    /** The method that `using` calls at the end of its block. */
    readonly dispose: unique symbol;
  }
  interface Disposable {
    [Symbol.dispose](): void;
  }
}

/**
 * `Symbol.dispose`, or what polyfills and compilers use where the engine has none: `using` works with both.
 */
export const dispose: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for('Symbol.dispose') as typeof Symbol.dispose);
