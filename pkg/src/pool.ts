import { WebSocketPool as GluePool } from '../wasm/tautline.js';
import { Audience } from './audience.js';
import { functionOf, json, oneOf, optionalBoolean, optionalCount, optionalId, optionalMs, optionalSignal, optionsOf, patternOf, text } from './check.js';
import { invalid } from './errors.js';
import { type EventFilter, filterText } from './filter.js';
import { Handle } from './handle.js';
import { serviceOptions } from './options.js';
import type { LoadBalancingStrategy, MemberHealth, MessagePriority, PoolEvents, PoolMessage, PoolOptions, PoolStatistics } from './pool-types.js';
import { dispose } from './symbols.js';
import { ledger } from './twin.js';
import type { Ack, ConnectionState, ConnectOptions, Message, ServiceOptions, TautlineMessages } from './types.js';

type Listener<E extends keyof PoolEvents> = (value: PoolEvents[E]) => unknown;

/** By the numbers that the module has for them. */
const STATES: readonly ConnectionState[] = ['disconnected', 'connecting', 'connected', 'reconnecting', 'error'];
const STRATEGIES: readonly LoadBalancingStrategy[] = ['health-based', 'round-robin', 'least-pending'];
const PRIORITIES: readonly MessagePriority[] = ['high', 'normal', 'low'];
/** Numbers that the module has for a member. */
const OF_MEMBER = 7;

/**
 * Several connections to one restaurant's events, used as one: over several relays of a log, or by several ways to one. Each
 * event is delivered once, whichever connection brings it first; a message goes by a healthy connection, and by another under the
 * same id when that one fails before the answer.
 *
 * ```ts
 * const pool = new WebSocketPool({ urls: ['wss://a.example/ws', 'wss://b.example/ws'], getToken: () => fetchToken() });
 * pool.subscribe('order:*', (payload) => show(payload));
 * await pool.connect();
 * await pool.send({ type: 'order:cancel', data: { order_id: id }, priority: 'high' });
 * ```
 */
export class WebSocketPool {
  readonly #handle: Handle<GluePool>;
  readonly #audience: Audience;
  readonly #urls: readonly string[];
  #lastHealth: readonly number[] = [];
  #lastStats: readonly number[] = Array(8).fill(0);

  constructor(options: PoolOptions) {
    const given = optionsOf('new WebSocketPool()', options);
    const { url, outboxLimit, outboxStorage, share }: ServiceOptions = given;
    if (url !== undefined) throw invalid('a WebSocketPool takes urls in place of url', url);
    if (outboxLimit !== undefined) throw invalid('a WebSocketPool takes messageQueueSize in place of outboxLimit', outboxLimit);
    if (outboxStorage !== undefined) throw invalid('a WebSocketPool keeps what waits in memory; it takes no outboxStorage', outboxStorage);
    if (share !== undefined) throw invalid('a WebSocketPool has connections of its own, and takes no share', share);
    const { config, getToken } = serviceOptions(given);
    const urls = (this.#urls = urlsOf(given.urls));
    const most = optionalCount('maxConnections', given.maxConnections, 1) ?? 5;
    const strategy = STRATEGIES.indexOf(oneOf('loadBalancingStrategy', STRATEGIES, given.loadBalancingStrategy ?? 'health-based'));
    const failover = optionalBoolean('enableFailover', given.enableFailover) ?? true;
    const interval = optionalMs('healthCheckInterval', given.healthCheckInterval, 1_000) ?? 5_000;
    const queue = optionalCount('messageQueueSize', given.messageQueueSize, 1) ?? 100;
    const { debug } = config;
    if (debug) ledger().stacks = true;
    const life = { event: 'stateChange', rests: ['disconnected'] };
    const kind = { priority: 'critical', life, changed: () => this.#audience.changed(), shutdown: () => this.dispose() } as const;
    const told = (event: string, value: unknown) => this.#told(event, value, debug);
    const heard = (member: number) => (_: string, message: unknown) => this.#heard(member, message as Message);
    this.#handle = new Handle('WebSocketPool', kind, (lend) => {
      const brings = urls.map((_, member) => lend(heard(member)));
      return new GluePool(config, [...urls], getToken && lend(getToken), lend(told), brings, most, strategy, failover, interval, queue);
    });
    this.#audience = new Audience(this.#handle.events, this.#handle.emitter());
  }

  /**
   * Resolves when one connection is up **and authenticated**; the others follow. Rejects with a {@link TautlineError} when every one of
   * them has given up, and then begins anew at the next call.
   */
  async connect(options?: ConnectOptions): Promise<void> {
    const given = optionsOf('connect()', options);
    const signal = optionalSignal('connect({signal})', given.signal);
    const timeoutMs = optionalMs('connect({timeoutMs})', given.timeoutMs);
    await this.#handle.later((glue) => glue.connect(signal, timeoutMs));
  }

  /** Final until the next `connect`: pending ones reject `aborted`. Subscriptions, the filter and what waits to be sent are kept. */
  disconnect(): void {
    this.#handle.clean((glue) => glue.disconnect());
  }

  /**
   * Sends a message by a healthy connection, or when there is one, and resolves with its answer. A connection that fails before the
   * answer hands it to another under the same id: a server that answers does it once; by one that does not (the plain dialect) it is
   * written once. Rejects `nack`, `outbox_expired`, `outbox_full`, `message_too_large`.
   */
  async send<R = unknown>(message: PoolMessage): Promise<Ack<R>> {
    const given = optionsOf('send(message)', message);
    const type = text('send({type})', given.type);
    const body = json('send({data})', given.data);
    const priority = PRIORITIES.indexOf(oneOf('send({priority})', PRIORITIES, given.priority ?? 'normal'));
    const id = optionalId('send({id})', given.id);
    const ttlMs = optionalMs('send({ttlMs})', given.ttlMs);
    const signal = optionalSignal('send({signal})', given.signal);
    return this.#handle.later((glue) => glue.send(type, body, priority, id, ttlMs, signal) as Promise<Ack<R>>);
  }

  /**
   * Calls back for every published message of a type, of a prefix (`order:*`), of all (`*`), or whose type a regular expression
   * matches. It changes nothing at the servers, and survives reconnects and failover. The function returned ends it.
   */
  subscribe<T extends keyof TautlineMessages>(type: T, callback: (payload: TautlineMessages[T], message: Message<TautlineMessages[T]>) => unknown): () => void;
  subscribe<P = unknown>(pattern: string | RegExp, callback: (payload: P, message: Message<P>) => unknown): () => void;
  subscribe(pattern: string | RegExp, callback: (payload: never, message: Message<never>) => unknown): () => void {
    if (!(pattern instanceof RegExp)) patternOf('subscribe(pattern)', pattern);
    functionOf('subscribe(pattern, callback)', callback);
    return this.#handle.live ? this.#audience.subscribe(pattern, callback) : () => {};
  }

  /**
   * What the servers are to send of what the role may see, from now on and on every connection; `null` = everything. Resolves when every
   * connection that is up has taken it. Rejects as a service's does.
   */
  async setFilter(filter: EventFilter | null): Promise<void> {
    const asked = filter === null ? undefined : filterText(filter);
    await this.#handle.later((glue) => glue.setFilter(asked));
  }

  /** Whether one connection is up and authenticated. */
  isConnected(): boolean {
    return this.getConnectionState() === 'connected';
  }

  /** The pool as the page sees it: `connected` while one connection is. */
  getConnectionState(): ConnectionState {
    if (this.#handle.dead) return 'error';
    return this.#handle.ask((glue) => glue.getConnectionState() as ConnectionState, 'disconnected');
  }

  /** How each connection does, in the order of `urls`. */
  getHealthStatus(): readonly MemberHealth[] {
    const numbers = (this.#lastHealth = this.#handle.ask((glue) => [...glue.health()], this.#lastHealth));
    return this.#urls.map((url, member) => {
      const [state = 0, healthy = 0, primary = 0, latency = -1, failures = 0, missedPings = 0, pending = 0] = numbers.slice(member * OF_MEMBER);
      return {
        url,
        state: this.#handle.live ? (STATES[state] ?? 'disconnected') : this.getConnectionState(),
        healthy: healthy === 1 && this.#handle.live,
        primary: primary === 1,
        latencyMs: latency < 0 ? null : latency,
        failures,
        missedPings,
        pending,
      };
    });
  }

  /** What the pool has done. Counters count since it was made. */
  getStatistics(): PoolStatistics {
    const numbers = (this.#lastStats = this.#handle.ask((glue) => [...glue.stats()], this.#lastStats));
    const [sent = 0, settled = 0, queued = 0, pending = 0, moved = 0, failovers = 0, events = 0, duplicates = 0] = numbers;
    return { sent, settled, queued, pending, moved, failovers, events, duplicates };
  }

  /** Calls back at every such event; the function returned ends that. */
  on<E extends keyof PoolEvents>(event: E, listener: Listener<E>): () => void {
    return this.#handle.listen(event, functionOf('on(event, listener)', listener), false);
  }

  /** Calls back at the next such event only. */
  once<E extends keyof PoolEvents>(event: E, listener: Listener<E>): () => void {
    return this.#handle.listen(event, functionOf('once(event, listener)', listener), true);
  }

  /** Takes a listener off, however often it was put on. */
  off<E extends keyof PoolEvents>(event: E, listener: Listener<E>): void {
    this.#handle.events.off(event, listener);
  }

  /** How many listen to an event. */
  listenerCount(event: keyof PoolEvents): number {
    return this.#handle.events.count(event);
  }

  /** Takes off every listener of an event, or of all. Subscriptions stay. */
  removeAllListeners(event?: keyof PoolEvents): void {
    this.#handle.events.clear(event);
  }

  /** Ends the object and every connection: lets go of everything, rejects what is pending with `disposed`. Twice does nothing. */
  dispose(): void {
    if (this.#handle.live) {
      this.getHealthStatus();
      this.getStatistics();
    }
    this.#handle.dispose();
  }

  /** The same as `dispose()`: `using` works. */
  [dispose](): void {
    this.dispose();
  }

  /** A message that a member brings: another may have brought it. */
  #heard(member: number, message: Message): void {
    const { seq } = message;
    if (this.#handle.ask((glue) => glue.takes(member, typeof seq === 'number' ? seq : -1), false)) this.#audience.deliver(message);
  }

  #told(event: string, value: unknown, debug: boolean | undefined): void {
    const shown = this.#shown(event, value);
    if (debug) console.debug('tautline', event, shown);
    this.#handle.tell(event, shown);
  }

  /** What the module says by number, as the page has it. */
  #shown(event: string, value: unknown): unknown {
    if (event === 'health') return this.getHealthStatus()[value as number];
    if (event !== 'failover' && event !== 'gap') return value;
    const [from, to] = value as [number, number];
    return event === 'gap' ? { from, to } : { from: this.#urls[from], to: this.#urls[to] };
  }
}

function urlsOf(urls: readonly string[]): readonly string[] {
  const takes = 'urls takes an array of at least one address, each once';
  if (!Array.isArray(urls)) throw invalid(takes, urls);
  // Each as a service takes it.
  for (const url of urls) serviceOptions({ url: text('urls', url) });
  if (urls.length === 0 || new Set(urls).size < urls.length) throw invalid(takes, urls);
  return [...urls];
}
