/** Options of {@link createTestRelay}. */
export interface TestRelayOptions {
  /** Its address, as the client's `url` option has it. Default `ws://relay.test/ws`. */
  url?: string | undefined;
  /** The restaurant that is meant where none is said. Default `test`. */
  restaurant?: string | undefined;
  /** From it come the client's jitter and ids: the same seed, the same run. Default 1. */
  seed?: number | undefined;
  /**
   * `virtual` (the default): while it is installed, timers, `Date` and `performance.now` stand still until `clock` moves
   * them. `none`: they are the page's own, real or faked by Vitest, Jest or Playwright.
   */
  clock?: 'virtual' | 'none' | undefined;
  /** What the virtual clock begins at. Default noon of 1 January 2026, UTC. */
  now?: Date | number | undefined;
  /** What the relay announces, ms. Default 15000. */
  heartbeatMs?: number | undefined;
  /** Whether `dispose()` throws when the client still holds something. Default `throw`. */
  leaks?: 'throw' | 'ignore' | undefined;
}

/** What a token says. */
export interface TokenClaims {
  /** Whose it is. Default `tester`. */
  sub?: string | undefined;
  /** Where: one, several, or `*`. Default the relay's `restaurant`. */
  restaurant?: string | readonly string[] | undefined;
  /** `customer`, `kiosk`, `server`, `kitchen`, `manager` or `service`. Default `manager`. */
  role?: string | undefined;
  /** Orders that are its own, whoever made them. */
  orderIds?: readonly string[] | undefined;
  /** How long it is good for, ms. Default 12 hours. */
  ttlMs?: number | undefined;
}

/** An authenticated connection. */
export interface Connection {
  /** Names it for `fault()`. */
  readonly id: number;
  /** The restaurant it is for. */
  readonly restaurantId: string;
  /** Whose token it has. */
  readonly sub: string;
  /** In which role. */
  readonly role: string;
  /** `tautline.v1`, or `plain`. */
  readonly protocol: string;
  /** The `client` option. */
  readonly client?: { readonly name?: string; readonly version?: string };
}

/** An event of the relay's log, as it is on the wire. */
export interface LogEvent {
  /** Such as `order:created`. */
  readonly type: string;
  /** Its place in the log. */
  readonly seq: number;
  /** The history it is in. */
  readonly epoch: string;
  /** What it says. */
  readonly payload: unknown;
  /** Of the command that caused it. */
  readonly command_id?: string;
}

/** Where something is done. */
export interface AtRestaurant {
  /** Default the relay's `restaurant`. */
  restaurant?: string | undefined;
}
