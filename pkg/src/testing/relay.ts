import { invalid } from '../errors.js';
import type { ItemStatus, NewOrder, Order, OrderStatus } from '../order.js';
import { dispose } from '../symbols.js';
import type { Resource, ResourceKind } from '../types.js';
import { PageClock, VirtualClock, type TestClock, type Time } from './clock.js';
import { holdsEvent, type FaultName, type FaultOptions, type Faults, type OnConnection } from './faults.js';
import { replace, seeded } from './globals.js';
import { described, endSince, heldSince, keepStacks, mark } from './held.js';
import { asked, fetchFor, headers, isOurs, parts, type Answered, type Asked } from './http.js';
import { Link, type PageEnd, type RelayEnd } from './link.js';
import type { Machines } from './module.js';
import type { PageLike, RouteLike, WebSocketRouteLike } from './playwright.js';
import { socketClass } from './socket.js';
import type { AtRestaurant, Connection, LogEvent, TestRelayOptions, TokenClaims } from './types.js';
import { Tasks } from './turn.js';

const BEGAN = Date.UTC(2026, 0, 1, 12);
const TTL_MS = 12 * 3_600_000;
const DOWN_MS = 1_000;
const V1 = 'tautline.v1';
const GARBAGE = '{"type":';
const SOME_ORDER: NewOrder = { type: 'dine-in', items: [{ menu_item_id: 'burger', name: 'Burger', quantity: 1, price: 9.5 }] };

/** The one that has taken the page's globals. */
let installed: TestRelay | undefined;

/**
 * A relay in memory: the machines of the real one over a store that commits at once, for the tests of whoever uses
 * `tautline`. Made by {@link createTestRelay}.
 *
 * ```ts
 * using relay = (await createTestRelay()).install();
 * const { orders, service } = await createTautline({ url: relay.url, restaurantId: relay.restaurant, getToken: () => relay.token() });
 * ```
 */
export class TestRelay {
  /** Its address: the client's `url` option. */
  readonly url: string;
  /** The restaurant that is meant where none is said: the client's `restaurantId`. */
  readonly restaurant: string;
  /** What the client's jitter and ids come from, while it is installed. */
  readonly seed: number;
  /** Moves the time. */
  readonly clock: TestClock;
  readonly #machines: Machines;
  readonly #time: Time;
  readonly #tasks: Tasks;
  readonly #address: URL;
  readonly #leaks: 'throw' | 'ignore';
  readonly #links = new Map<number, Link>();
  /** For the links. */
  readonly #end: RelayEnd;
  #nextId = 1;
  #cancelWake = () => {};
  #undo: (() => void)[] = [];
  #mark = mark();
  #disposed = false;
  /** End the requests that have no answer yet. */
  readonly #asking = new Set<() => void>();
  // Faults in force.
  #latency = 0;
  #silent = false;
  #refusing = 0;
  #duplicates = 0;
  #overloaded = false;
  #downUntil = 0;

  /** @internal */
  constructor(machines: Machines, { url = 'ws://relay.test/ws', restaurant = 'test', seed = 1, clock = 'virtual', now = BEGAN, leaks = 'throw' }: TestRelayOptions) {
    [this.url, this.restaurant, this.seed, this.#leaks] = [url, restaurant, seed, leaks];
    this.#machines = machines;
    this.#address = new URL(url);
    const told = () => `seed ${seed}, ${this.connections().length} of ${this.#links.size} connections authenticated`;
    const page = clock === 'none' ? new PageClock(told) : undefined;
    // By the page's own timers, so that whoever fakes those moves everything with them.
    this.#tasks = new Tasks(page && ((run) => void page.at(page.now(), run)));
    this.clock = this.#time = page ?? new VirtualClock(Number(now), this.#tasks, told);
    this.#end = {
      admits: () => this.#admits(),
      swallows: () => this.#silent,
      latency: () => this.#latency,
      opened: (link) => {
        link.opened(link.v1 ? V1 : '');
        this.#do(() => this.#machines.open(link.id, link.v1));
      },
      text: (link, text) => this.#do(() => this.#machines.text(link.id, text)),
      binary: (link) => this.#do(() => this.#machines.binary(link.id)),
      pong: (link) => this.#do(() => this.#machines.pong(link.id)),
      closed: (link) => this.#do(() => this.#machines.closed(link.id)),
      over: (link) => void this.#links.delete(link.id),
    };
  }

  /**
   * Takes the place of `WebSocket` and `fetch` for its addresses, of `Math.random`, and with a virtual clock of timers and
   * `Date`, until `dispose()`. One relay at a time. Answers itself.
   */
  install(): this {
    if (installed) throw new Error('tautline/testing: another test relay is installed; dispose() of it first, at best in afterEach()');
    this.#live();
    installed = this;
    this.#mark = mark();
    const { WebSocket: socket, fetch: fetched } = globalThis as { WebSocket?: typeof WebSocket; fetch?: typeof fetch };
    this.#undo = [
      keepStacks(),
      replace(globalThis, 'WebSocket', socketClass(socket, (url) => this.#isSocket(url), (protocols, page) => this.#dial(page, protocols))),
      replace(Math, 'random', seeded(this.seed)),
    ];
    // jsdom alone has no fetch; nor has the client then.
    if (typeof Request === 'function' && typeof Response === 'function') {
      this.#undo.push(replace(globalThis, 'fetch', fetchFor(fetched, (url) => this.#isRequest(url), (request, signal) => this.#answer(request, signal))));
    }
    if (this.clock instanceof VirtualClock) this.clock.install();
    return this;
  }

  /** A token that this relay takes, and no other does: it is known by its text, and nothing is signed. It can be read as a JWT. */
  token(claims: TokenClaims = {}): string {
    const { sub = 'tester', restaurant = this.restaurant, role = 'manager', orderIds = [], ttlMs = TTL_MS } = claims;
    const said = JSON.stringify({ sub, restaurants: [restaurant].flat(), role, orderIds, ttlMs });
    try {
      return this.#do(() => this.#machines.token(said));
    } catch (cause) {
      throw invalid(`token(claims) takes {sub, restaurant, role, orderIds, ttlMs}: ${String(cause)}`, claims);
    }
  }

  /** Makes an order, as a point of sale would; what is not said is a burger for somebody inside. */
  createOrder(order: Partial<NewOrder> = {}, at?: AtRestaurant): Order {
    return JSON.parse(this.#act('manager', 'POST', '/orders', { ...SOME_ORDER, ...order }, at)) as Order;
  }

  /** States that an order is different from now on, as a back end may, whatever its state allows. */
  patchOrder(orderId: string, changes: Partial<Order>, at?: AtRestaurant): Order {
    const order = { ...this.#order(orderId, at), updated_at: new Date(this.#time.wall()).toISOString(), ...changes };
    this.publish('order:updated', { order }, at);
    return this.#order(orderId, at);
  }

  /** Moves an order, as a manager may. */
  setStatus(orderId: string, status: OrderStatus, at?: AtRestaurant): Order {
    this.#act('manager', 'PATCH', `/orders/${orderId}/status`, { status }, at);
    return this.#order(orderId, at);
  }

  /** Moves one item of an order, as a manager may. */
  setItemStatus(orderId: string, itemId: string, status: ItemStatus, at?: AtRestaurant): Order {
    this.#act('manager', 'PATCH', `/orders/${orderId}/items/${itemId}/status`, { status }, at);
    return this.#order(orderId, at);
  }

  /** Takes an order out of the live set. */
  deleteOrder(orderId: string, at?: AtRestaurant): void {
    this.#act('manager', 'DELETE', `/orders/${orderId}`, undefined, at);
  }

  /** Publishes an event of any type, as a back end does; answers its place in the log. */
  publish(type: string, payload: unknown = {}, at?: AtRestaurant): { readonly seq: number; readonly epoch: string } {
    return JSON.parse(this.#act('service', 'POST', '/events', { type, payload }, at)) as { seq: number; epoch: string };
  }

  /** The live set, as the relay has it. */
  orders({ restaurant = this.restaurant }: AtRestaurant = {}): Order[] {
    return JSON.parse(this.#do(() => this.#machines.orders(restaurant))) as Order[];
  }

  /** The log since its epoch began: what happened, and how often. */
  events({ restaurant = this.restaurant }: AtRestaurant = {}): LogEvent[] {
    return JSON.parse(this.#do(() => this.#machines.events(restaurant))) as LogEvent[];
  }

  /** Who is connected, and authenticated. */
  connections(): Connection[] {
    return this.#disposed ? [] : (JSON.parse(this.#machines.connections()) as Connection[]);
  }

  /** Makes something go wrong. The function that it answers ends a fault that lasts; so does `heal()`. */
  fault<N extends FaultName>(name: N, ...[options]: FaultOptions<N>): () => void {
    this.#live();
    const faults: { [F in FaultName]: (given: Faults[F]) => (() => void) | void } = {
      cut: (given) => this.#each(given, (link) => link.cut()),
      silent: (given) => {
        this.#each(given, (link) => link.silence());
        if (given.connection !== undefined) return;
        this.#silent = true;
        return () => void (this.#silent = false);
      },
      slow: ({ ms }) => {
        this.#latency = ms;
        return () => void (this.#latency = 0);
      },
      refuse: ({ times = Infinity }) => {
        this.#refusing = times;
        return () => void (this.#refusing = 0);
      },
      close: ({ code, reason = '', ...which }) => this.#each(which, (link) => link.hangUp(code, reason)),
      restart: (given) => this.#restart(given),
      nack: ({ code, message = 'refused by the test', retryAfterMs, type, times = 1 }) => {
        for (let n = 0; n < times; n += 1) this.#machines.nackNext(code, message, retryAfterMs, type);
        return () => this.#machines.forgetFaults();
      },
      'lost-ack': ({ type, times = 1 }) => {
        for (let n = 0; n < times; n += 1) this.#machines.loseNextAck(type);
        return () => this.#machines.forgetFaults();
      },
      duplicate: ({ times = 1 }) => {
        this.#duplicates = times;
        return () => void (this.#duplicates = 0);
      },
      malformed: ({ text = GARBAGE, ...which }) => this.#each(which, (link) => link.deliver(text)),
      'expire-token': ({ sub }) => this.#do(() => this.#machines.expire(sub)),
      revoke: ({ sub }) => this.#do(() => this.#machines.revoke(sub)),
      overload: () => {
        const set = (overloaded: boolean) => {
          this.#overloaded = overloaded;
          this.#machines.overload(overloaded);
        };
        set(true);
        return () => set(false);
      },
    };
    const make = faults[name] as ((given: Faults[N]) => (() => void) | void) | undefined;
    if (typeof make !== 'function') throw invalid(`fault(name) takes one of ${Object.keys(faults).join(', ')}`, name);
    const end = make(options ?? ({} as Faults[N]));
    return () => {
      if (!this.#disposed) end?.();
    };
  }

  /** Ends every fault that lasts. What has fallen stays so: the client comes back by itself. */
  heal(): void {
    this.#live();
    [this.#latency, this.#silent, this.#refusing, this.#duplicates, this.#overloaded, this.#downUntil] = [0, false, 0, 0, false, 0];
    this.#machines.overload(false);
    this.#machines.forgetFaults();
  }

  /** What the client holds, of one kind or all, that it did not hold when the relay was installed. */
  held(kind?: ResourceKind): Resource[] {
    return heldSince(this.#mark).filter((resource) => kind === undefined || resource.kind === kind);
  }

  /** Playwright: talks to a page's socket, in place of a server. Whatever address it asked for. */
  attach(route: WebSocketRouteLike): void {
    const link = this.#dial({
      opened: () => {},
      message: (text) => route.send(text),
      closed: (code, reason) => void route.close({ code, reason }).catch(() => {}),
    }, []);
    route.onMessage((message) => link.send(typeof message === 'string' ? message : undefined, () => {}));
    route.onClose((code, reason) => link.close(code ?? 1005, reason ?? ''));
  }

  /** Playwright: takes the sockets and requests of a page, or of a whole context, that are for this relay's address. */
  async serve(page: PageLike): Promise<void> {
    await page.routeWebSocket((url) => this.#isSocket(url), (route) => this.attach(route));
    await page.route((url) => this.#isRequest(url), (route) => this.#fulfill(route));
  }

  /**
   * Ends it: the page's globals are its own again, and no timer of the virtual clock ever comes. Throws when the client
   * still holds something (`leaks`), and says what and where it was made; that is then ended, so that the next test is
   * not met by it. Twice does nothing.
   */
  dispose(): void {
    if (this.#disposed) return;
    const finish = (links: Iterable<Link>) => {
      for (const link of [...links]) link.finish();
      this.#tasks.flush();
    };
    finish([...this.#links.values()].filter(({ closing }) => closing));
    const held = installed === this ? this.held() : [];
    if (held.length > 0) endSince(this.#mark);
    finish(this.#links.values());
    this.#disposed = true;
    this.#time.stop();
    for (const end of this.#asking) end();
    for (const undo of this.#undo.splice(0).reverse()) undo();
    if (installed === this) installed = undefined;
    this.#machines.free();
    if (held.length > 0 && this.#leaks === 'throw') {
      throw new Error(`tautline/testing: the client still holds ${held.length} resources (seed ${this.seed}). Let go of them before the end of the test: unmount, release the lease, dispose() of the client.\n${described(held)}`);
    }
  }

  /** The same as `dispose()`: `using` works. */
  [dispose](): void {
    this.dispose();
  }

  #live(): void {
    if (this.#disposed) throw new Error('tautline/testing: this test relay has been disposed of');
  }

  #isSocket(url: URL): boolean {
    return url.host === this.#address.host && url.pathname === this.#address.pathname;
  }

  #isRequest(url: URL): boolean {
    return url.host === this.#address.host && isOurs(url.pathname);
  }

  #dial(page: PageEnd, protocols: readonly string[]): Link {
    this.#live();
    const id = this.#nextId++;
    const link = new Link(id, protocols.includes(V1), page, this.#end, this.#time, this.#tasks);
    this.#links.set(id, link);
    return link;
  }

  #admits(): boolean {
    if (this.#refusing > 0) {
      this.#refusing -= 1;
      return false;
    }
    return !this.#overloaded && this.#time.now() >= this.#downUntil;
  }

  /** Lets the machines act, at the time that it is, and does what they ask for. */
  #do<T>(act: () => T): T {
    this.#live();
    this.#machines.clock(this.#time.now(), this.#time.wall());
    const done = act();
    for (let effect = this.#machines.poll(); effect !== undefined; effect = this.#machines.poll()) this.#perform(JSON.parse(effect) as Effect);
    this.#cancelWake();
    const at = this.#machines.wakeAt();
    this.#cancelWake = at === undefined ? () => {} : this.#time.at(at, () => this.#do(() => this.#machines.tick()));
    return done;
  }

  #perform(effect: Effect): void {
    const link = this.#links.get(effect.connection);
    if (!link) return;
    switch (effect.kind) {
      case 'send':
        link.deliver(effect.text);
        if (this.#duplicates > 0 && holdsEvent(effect.text)) {
          this.#duplicates -= 1;
          link.deliver(effect.text);
        }
        return;
      case 'ping':
        return link.ping();
      case 'close':
        return link.hangUp(effect.code, effect.reason);
      case 'drop':
        return link.cut();
    }
  }

  #each({ connection }: OnConnection, act: (link: Link) => void): void {
    for (const [id, link] of [...this.#links]) if (connection === undefined || connection === id) act(link);
  }

  #restart({ log = 'kept', downMs = DOWN_MS, announced = true }: Faults['restart']): () => void {
    this.#downUntil = this.#time.now() + downMs;
    this.#do(() => this.#machines.restart(announced ? downMs : undefined, log === 'lost'));
    return () => void (this.#downUntil = 0);
  }

  /** What the test does itself, by the routes that a back end has. */
  #act(role: string, method: string, path: string, body: unknown, { restaurant = this.restaurant }: AtRestaurant = {}): string {
    const answer = JSON.parse(this.#do(() => this.#machines.act(role, method, `/api/v1/restaurants/${restaurant}${path}`, JSON.stringify(body) ?? ''))) as Answered;
    if (answer.status >= 400) {
      const { code, detail } = JSON.parse(answer.body) as { code: string; detail: string };
      throw new Error(`tautline/testing: ${method} ${path}: ${code}: ${detail}`);
    }
    return answer.body;
  }

  #order(id: string, at?: AtRestaurant): Order {
    const order = this.orders(at).find((one) => one.id === id);
    if (!order) throw new Error(`tautline/testing: no order ${id} in the live set`);
    return order;
  }

  /** A request that came in over the network, as that is now. */
  async #answer(request: Asked, signal?: AbortSignal): Promise<Answered> {
    const over = () => new TypeError('the test relay has been disposed of');
    if (this.#disposed) throw over();
    await new Promise<void>((resolve, reject) => {
      const settle = (then: () => void) => {
        this.#asking.delete(end);
        then();
      };
      const end = () => settle(() => reject(over()));
      this.#asking.add(end);
      signal?.addEventListener('abort', () => settle(() => reject(signal.reason)), { once: true });
      const arrived = () => (this.#silent ? undefined : settle(resolve));
      if (this.#latency > 0) this.#time.at(this.#time.now() + this.#latency, arrived);
      else this.#tasks.post(arrived);
    });
    if (this.#disposed) throw over();
    if (this.#refusing > 0 || this.#time.now() < this.#downUntil) throw new TypeError('fetch failed');
    if (request.method === 'OPTIONS') return { status: 204, type: 'text/plain', body: '' };
    const { path, query } = parts(request);
    return JSON.parse(this.#do(() => this.#machines.request(request.token, request.method, path, query, request.body, request.key))) as Answered;
  }

  async #fulfill(route: RouteLike): Promise<void> {
    const request = route.request();
    const given = request.headers();
    try {
      const answered = await this.#answer(asked(request.method(), new URL(request.url()), (name) => given[name], request.postData() ?? ''));
      await route.fulfill({ status: answered.status, headers: headers(answered), body: answered.body });
    } catch {
      await route.abort('connectionfailed');
    }
  }
}

type Effect = { readonly connection: number } & (
  | { readonly kind: 'send'; readonly text: string }
  | { readonly kind: 'ping' }
  | { readonly kind: 'close'; readonly code: number; readonly reason: string }
  | { readonly kind: 'drop' }
);
