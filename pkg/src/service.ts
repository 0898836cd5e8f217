import { WebSocketService as GlueService } from '../wasm/tautline.js';
import { Audience } from './audience.js';
import { functionOf, json, oneOf, optionalCount, optionalId, optionalMs, optionalSignal, optionsOf, patternOf, text } from './check.js';
import { TautlineError, invalid } from './errors.js';
import { type EventFilter, filterText } from './filter.js';
import { Handle, isLoaded } from './handle.js';
import { Messages, type MessagesOptions } from './messages.js';
import { serviceOptions } from './options.js';
import { Recording } from './recording.js';
import { Sharing } from './sharing.js';
import { OutboxStorage } from './storage.js';
import { dispose } from './symbols.js';
import { enter, leave, ledger } from './twin.js';
import type {
  Ack,
  ConnectionState,
  ConnectOptions,
  Entry,
  Freshness,
  Message,
  RequestOptions,
  Role,
  SendHandle,
  SendOptions,
  SendStatus,
  ServiceOptions,
  Stats,
  TautlineEvents,
  TautlineMessages,
} from './types.js';

type Listener<E extends keyof TautlineEvents> = (value: TautlineEvents[E]) => unknown;

const NO_STATS: Stats = {
  connects: 0,
  resumes: 0,
  gaps: 0,
  duplicates: 0,
  snapshots: 0,
  events: 0,
  staleInputs: 0,
  attempts: 0,
  rttMs: null,
  nextAttemptInMs: null,
  lastSeq: null,
  stale: false,
  offline: false,
  outbox: { length: 0, oldestMs: null },
};
const NO_RECORDING = '{"format":1,"complete":false,"config":{},"state":null,"entries":[]}';
const NO_FRESHNESS: Freshness = { seq: null, confirmedAtMs: null, ageMs: null, live: false };

let handleOf: (service: WebSocketService) => Handle<GlueService>;

/** @internal The module's object under a service, for the classes that are made on one. */
export function serviceHandle(what: string, service: WebSocketService): Handle<GlueService> {
  if (!(service instanceof WebSocketService)) {
    throw invalid(`${what} takes a WebSocketService of this copy of the package`, service);
  }
  return handleOf(service);
}

/**
 * One live connection to a restaurant's events: it authenticates, notices silence, reconnects, resumes where it
 * left off, and keeps what is sent meanwhile.
 *
 * ```ts
 * const service = new WebSocketService({ restaurantId: 'grow', getToken: () => fetchToken() });
 * service.on('stateChange', (state) => show(state));
 * await service.connect();
 * ```
 *
 * One that nobody can reach any more is disposed of with one warning, unless it is at work for somebody: it has listeners
 * or subscribers and is not `disconnected`, or what was made on it is still there.
 */
export class WebSocketService {
  readonly #handle: Handle<GlueService>;
  readonly #audience: Audience;
  readonly #storage: OutboxStorage | undefined;
  #sharing: Sharing | undefined;
  #lastStats = NO_STATS;
  #lastFreshness = NO_FRESHNESS;
  #lastRecording = NO_RECORDING;

  static {
    handleOf = (service) => service.#handle;
  }

  constructor(options?: ServiceOptions) {
    const { config, url, getToken, share } = serviceOptions(options);
    if (config.debug) ledger().stacks = true;
    const life = { event: 'stateChange', rests: ['disconnected'] };
    const { debug, outboxStored } = config;
    this.#storage = outboxStored && isLoaded() ? this.#storageFor(url, config.restaurantId) : undefined;
    const kind = { priority: 'critical', life, changed: () => this.#audience.changed(), also: this.#storage, shutdown: () => this.dispose() } as const;
    const told = (event: string, value: unknown) => this.#told(event, value, debug);
    this.#handle = new Handle('WebSocketService', kind, (lend) => {
      const asked = typeof url === 'function' ? lend(url) : url;
      if (!share) return new GlueService(config, asked, getToken && lend(getToken), lend(told));
      const sharing = (this.#sharing = new Sharing(lend((event: string, role: unknown) => this.#told(event, role, debug))));
      return new GlueService(config, sharing.asking(asked), getToken && lend(getToken), lend(told), (where: string, protocols: string[]) => sharing.open(where, protocols));
    });
    this.#audience = new Audience(this.#handle.events, this.#handle.emitter());
    this.#storage?.begin();
  }

  /**
   * Resolves when connected and authenticated; rejects with a {@link TautlineError} when that cannot be. Concurrent
   * calls join one attempt; in state `error` it starts anew.
   */
  async connect(options?: ConnectOptions): Promise<void> {
    const given = optionsOf('connect()', options);
    const signal = optionalSignal('connect({signal})', given.signal);
    const timeoutMs = optionalMs('connect({timeoutMs})', given.timeoutMs);
    await this.#handle.later((glue) => glue.connect(signal, timeoutMs));
  }

  /** Final until the next `connect`: pending ones reject `aborted`. Subscriptions are kept. */
  disconnect(): void {
    this.#handle.clean((glue) => glue.disconnect());
  }

  /**
   * Sends a message, now or when the connection is back (see `outboxLimit`, `outboxTtlMs`). A server that answers
   * gets it again under the same id until it has; others get it once. Throws `outbox_full`, `message_too_large`.
   * `done` may be left alone: its rejection is not reported as unhandled.
   */
  send(type: string, payload?: unknown, options?: SendOptions): SendHandle {
    const given = optionsOf('send()', options);
    const id = optionalId('send({id})', given.id);
    const ttlMs = optionalMs('send({ttlMs})', given.ttlMs);
    const signal = optionalSignal('send({signal})', given.signal);
    text('send(type)', type);
    const body = json('send(type, payload)', payload);
    return this.#send(type, body, id, ttlMs, signal);
  }

  #send(type: string, body: string, id: string | undefined, ttlMs: number | undefined, signal: AbortSignal | undefined): SendHandle {
    const sent = this.#handle.act((glue) => glue.send(type, body, id, ttlMs, signal) as { id: string; done: Promise<Ack> });
    return new Sent(this.#handle, sent.id, this.#handle.later(() => sent.done));
  }

  /**
   * Sends a message and resolves with its answer. Rejects `nack` when the server refuses it and `request_timeout`
   * when no answer came: `outcome` `not_sent` says that it was withdrawn, `unknown` that it may have been applied.
   */
  async request<R = unknown>(type: string, payload?: unknown, options?: RequestOptions): Promise<Ack<R>> {
    const given = optionsOf('request()', options);
    const timeoutMs = optionalMs('request({timeoutMs})', given.timeoutMs, 1) ?? 10_000;
    const signal = optionalSignal('request({signal})', given.signal);
    const id = optionalId('request({id})', given.id);
    text('request(type)', type);
    const body = json('request(type, payload)', payload);
    return this.#handle.later((glue) => glue.request(type, body, timeoutMs, id, signal) as Promise<Ack<R>>);
  }

  /** What waits for a connection or an answer, oldest first; before it what is set aside (see {@link ServiceOptions.outboxStorage}). */
  outbox(): readonly Entry[] {
    const waiting = this.#handle.ask((glue) => glue.outbox() as Entry[], []);
    const aside = this.#handle.live ? ((this.#storage?.entries() ?? []) as Entry[]) : [];
    return aside.length > 0 ? [...aside, ...waiting] : waiting;
  }

  /**
   * Sends a message once more that was set aside (`status: 'failed'` in `outbox()`), under its own id: a server that has done it
   * within its memory (`reason.outcome` `unknown`) does not do it again. Throws `invalid_argument` where there is none, else what `send` does.
   */
  retry(id: string): SendHandle {
    text('retry(id)', id);
    this.#handle.glue();
    const sent = this.#storage?.retry(id, (type, body, ttlMs) => this.#send(type, body, id, ttlMs, undefined));
    if (!sent) throw invalid('retry() takes the id of a message that is set aside', id);
    return sent;
  }

  /** Throws a message away that was set aside. Answers whether there was one. */
  discard(id: string): boolean {
    text('discard(id)', id);
    return this.#handle.live && this.#storage?.discard(id) === true;
  }

  /** Calls back with the outbox whenever it has changed; the function returned ends that. */
  onOutbox(callback: (outbox: readonly Entry[]) => unknown): () => void {
    functionOf('onOutbox()', callback);
    return this.#handle.live ? this.#audience.onOutbox(() => callback(this.outbox())) : () => {};
  }

  /**
   * Calls back for every published message of a type, of a prefix (`order:*`) or of all (`*`). Local: it changes
   * nothing at the server, and survives reconnects. The function returned ends it.
   */
  subscribe<T extends keyof TautlineMessages>(type: T, callback: (payload: TautlineMessages[T], message: Message<TautlineMessages[T]>) => unknown): () => void;
  subscribe<P = unknown>(pattern: string, callback: (payload: P, message: Message<P>) => unknown): () => void;
  subscribe(pattern: string, callback: (payload: never, message: Message<never>) => unknown): () => void {
    patternOf('subscribe(type)', pattern);
    functionOf('subscribe(type, callback)', callback);
    return this.#handle.live ? this.#audience.subscribe(pattern, callback) : () => {};
  }

  /**
   * The same messages to be iterated: each call has a buffer of its own, filled from its first `next()` on. It goes on over
   * reconnects and ends with its loop, its signal, or the service.
   *
   * ```ts
   * for await (const { payload } of service.messages('order:created', { signal })) await print(payload.order);
   * ```
   */
  messages<T extends keyof TautlineMessages>(type: T, options?: MessagesOptions): AsyncIterableIterator<Message<TautlineMessages[T]>>;
  messages<P = unknown>(pattern: string, options?: MessagesOptions): AsyncIterableIterator<Message<P>>;
  messages(pattern: string, options?: MessagesOptions): AsyncIterableIterator<Message<never>> {
    patternOf('messages(type)', pattern);
    const given = optionsOf('messages()', options);
    optionalSignal('messages({signal})', given.signal);
    optionalCount('messages({limit})', given.limit, 1);
    if (given.onOverflow !== undefined) oneOf('messages({onOverflow})', ['throw', 'drop-oldest'], given.onOverflow);
    this.#handle.glue();
    return new Messages(this.#handle, this.#audience, pattern, given);
  }

  /**
   * What the server is to send of what the role may see, from now on and on every connection; `null` = everything. An
   * order set follows it: `orders()` and its callbacks show what the filter shows.
   *
   * Resolves when the server has taken it; in state `disconnected`, where there is no server to ask, at once. Rejects
   * `nack` if the server refuses it (the one in force stays), `protocol` if the server has no filters (the plain
   * dialect; it is remembered for one that has), `aborted` if a later call, or `disconnect()`, came before it was taken.
   */
  async setFilter(filter: EventFilter | null): Promise<void> {
    const asked = filter === null ? undefined : filterText(filter);
    await this.#handle.later((glue) => glue.setFilter(asked));
  }

  /** Whether it is connected and authenticated. */
  isConnected(): boolean {
    return this.#handle.ask((glue) => glue.isConnected(), false);
  }

  /** The connection as the page sees it. */
  getConnectionState(): ConnectionState {
    if (this.#handle.dead) return 'error';
    return this.#handle.ask((glue) => glue.getConnectionState() as ConnectionState, 'disconnected');
  }

  /**
   * Whose connection it is, with `share: 'device'`: `leader`, that of all tabs, and this is the one of them that leads; `follower`, another
   * one does; `solo`, its own, or none.
   */
  role(): Role {
    return this.#sharing?.role ?? 'solo';
  }

  /** Calls back at every such event; the function returned ends that. */
  on<E extends keyof TautlineEvents>(event: E, listener: Listener<E>): () => void {
    return this.#handle.listen(event, functionOf('on(event, listener)', listener), false);
  }

  /** Calls back at the next such event only. */
  once<E extends keyof TautlineEvents>(event: E, listener: Listener<E>): () => void {
    return this.#handle.listen(event, functionOf('once(event, listener)', listener), true);
  }

  /** Takes a listener off, however often it was put on. */
  off<E extends keyof TautlineEvents>(event: E, listener: Listener<E>): void {
    this.#handle.events.off(event, listener);
  }

  /** How many listen to an event. */
  listenerCount(event: keyof TautlineEvents): number {
    return this.#handle.events.count(event);
  }

  /** Takes off every listener of an event, or of all. Subscriptions stay. */
  removeAllListeners(event?: keyof TautlineEvents): void {
    this.#handle.events.clear(event);
  }

  /** Counters and figures, as they are now. */
  stats(): Stats {
    return (this.#lastStats = this.#handle.ask((glue) => glue.stats() as Stats, this.#lastStats));
  }

  /** Up to when everything is here for certain. */
  freshness(): Freshness {
    return (this.#lastFreshness = this.#handle.ask((glue) => glue.freshness() as Freshness, { ...this.#lastFreshness, live: false }));
  }

  /** What the service has been through, for a report of odd behaviour; after `dispose()`, up to then. */
  recording(): Recording {
    return new Recording((this.#lastRecording = this.#handle.ask((glue) => glue.recording() ?? NO_RECORDING, this.#lastRecording)));
  }

  /** Cuts a running wait short; does nothing unless reconnecting. */
  reconnectNow(): void {
    this.#handle.act((glue) => glue.reconnectNow());
  }

  /** Hands over a token that `getToken` was not asked for: used from now on, and to renew a running connection. */
  setToken(token: string): void {
    if (typeof token !== 'string' || token === '') throw invalid('setToken() takes a token', typeof token === 'string' ? '' : token);
    this.#handle.act((glue) => glue.setToken(token));
  }

  /**
   * Ends the object: closes, lets go of everything, rejects what is pending with `disposed`. Twice does nothing. With `outboxStorage`
   * what waits stays in storage for the next service, and is rejected with `outcome` `unknown`: that one may send it.
   */
  dispose(): void {
    if (this.#handle.live) {
      this.stats();
      this.freshness();
      this.recording();
    }
    this.#handle.dispose();
    this.#sharing?.rest();
  }

  /** The same as `dispose()`: `using` works. */
  [dispose](): void {
    this.dispose();
  }

  #storageFor(url: ServiceOptions['url'], restaurant: string | undefined): OutboxStorage {
    const weak = new WeakRef(this);
    const live = (call: (service: WebSocketService) => void) => {
      const service = weak.deref();
      if (service) call(service);
    };
    const env = {
      enter,
      leave,
      error: (code: 'storage_unavailable', message: string, fields: { cause?: unknown }) => new TautlineError(code, message, fields),
      failed: (error: unknown) => live((service) => service.#handle.tell('error', error)),
      stored: (id: string, sent: boolean, kept: boolean) => live((service) => service.#handle.clean((glue) => glue.stored(id, sent, kept))),
      adopted: (answer: boolean, entries: unknown[], lost: string[]) => live((service) => service.#handle.clean((glue) => glue.adopted(answer, entries, lost))),
      changed: () => live((service) => service.#audience.outboxChanged()),
    };
    // Relays of one log are one place, whichever of them is connected to.
    const first = typeof url === 'object' ? url[0] : url;
    return new OutboxStorage(env, typeof first === 'function' ? undefined : (first ?? '/ws'), restaurant);
  }

  #told(event: string, value: unknown, debug: boolean | undefined): void {
    if (event !== 'message' && this.#storage?.heard(event, value)) return;
    if (debug) console.debug('tautline', event, value);
    if (event === 'message') return this.#audience.deliver(value);
    if (event === 'stateChange' && (value === 'disconnected' || value === 'error')) this.#sharing?.rest();
    if (event === 'outbox') this.#audience.outboxChanged();
    else this.#handle.tell(event, value);
  }
}

/** A message on its way; holds no more of the module than its id. */
class Sent implements SendHandle {
  readonly id: string;
  readonly done: Promise<Ack>;
  readonly #handle: Handle<GlueService>;
  /** By itself: the promise, which the module keeps, is not to lead to the service. */
  readonly #end: { is?: 'done' | 'failed' } = {};

  constructor(handle: Handle<GlueService>, id: string, done: Promise<Ack>) {
    this.#handle = handle;
    this.id = id;
    this.done = done;
    const end = this.#end;
    done.then(
      () => (end.is = 'done'),
      () => (end.is = 'failed'),
    );
  }

  get status(): SendStatus {
    return this.#end.is ?? this.#handle.ask((glue) => glue.status(this.id) as 'queued' | 'sent' | undefined, undefined) ?? 'sent';
  }

  cancel(): boolean {
    return this.#end.is === undefined && this.#handle.ask((glue) => glue.cancel(this.id), false);
  }
}
