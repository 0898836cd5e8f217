import { OrderUpdates as GlueOrders } from '../wasm/tautline.js';
import { STATUSES, functionOf, json, oneOf, optionalBoolean, optionalCount, optionalSignal, optionalText, optionsOf, text } from './check.js';
import { invalid } from './errors.js';
import { Handle } from './handle.js';
import type { ItemStatus, NewOrder, Order, OrdersPage, OrdersQuery, OrderStatus, OrderUpdate } from './order.js';
import { serviceHandle, type WebSocketService } from './service.js';
import { dispose } from './symbols.js';

const ITEM_STATUSES: readonly ItemStatus[] = ['pending', 'preparing', 'ready', 'served', 'cancelled'];
const NONE: readonly Order[] = [];

/** Options of `updateOrderStatus` and `updateItemStatus`. */
export interface StatusOptions<S extends OrderStatus | ItemStatus = OrderStatus> {
  /** Refuse (`nack`, `conflict`) if it has another status by then. Default: whatever it has. */
  expectedStatus?: S | undefined;
  /** Show the change at once, and take it back if it fails. Default false. */
  optimistic?: boolean | undefined;
}

/**
 * The restaurant's live orders, kept equal to the server's through every disconnect.
 *
 * ```ts
 * const orders = new OrderUpdates(service);
 * orders.onOrders((list) => render(list));
 * orders.initialize();
 * ```
 *
 * One that nobody can reach any more is disposed of with one warning, unless it has callbacks: then it works on as long as its
 * service does.
 */
export class OrderUpdates {
  readonly #handle: Handle<GlueOrders>;
  #last = NONE;

  constructor(service: WebSocketService) {
    const under = serviceHandle('new OrderUpdates(service)', service);
    // Changes are put into words only for somebody who listens.
    const changed = () => this.#handle.clean((glue) => glue.watch(this.#handle.events.count('update') > 0));
    const kind = { priority: 'high', under, changed, shutdown: () => this.dispose() } as const;
    this.#handle = new Handle('OrderUpdates', kind, (lend) => new GlueOrders(under.glue(), lend((event: string, value: unknown) => this.#handle.tell(event, value))));
  }

  /** Starts to keep the set: asks for a snapshot now or at the next connect. Twice does nothing. */
  initialize(): void {
    this.#handle.act((glue) => glue.initialize());
  }

  /** Stops keeping the set and empties it; callbacks stay. */
  cleanup(): void {
    this.#handle.clean((glue) => glue.cleanup());
    this.#handle.events.cut();
  }

  /**
   * Calls back for every change, in order, once; differences found by a snapshot after a disconnect too. The
   * function returned ends that.
   */
  onOrderUpdate(callback: (update: OrderUpdate) => unknown): () => void {
    functionOf('onOrderUpdate()', callback);
    return this.#handle.listen('update', callback, false);
  }

  /** The live orders: the same array until something changed, the same object for an order that did not. */
  orders(): readonly Order[] {
    return (this.#last = this.#handle.ask((glue) => glue.orders() as readonly Order[], this.#last));
  }

  /** Calls back with the orders whenever they have changed. The function returned ends that. */
  onOrders(callback: (orders: readonly Order[]) => unknown): () => void {
    functionOf('onOrders()', callback);
    return this.#handle.listen('orders', callback, false);
  }

  /** Asks the server what was missed; at most one such call is under way at a time. */
  requestSync(): void {
    this.#handle.act((glue) => glue.requestSync());
  }

  /** Moves an order; resolves when the server has it and `orders()` shows it. */
  async updateOrderStatus(orderId: string, status: OrderStatus, options?: StatusOptions): Promise<void> {
    text('updateOrderStatus(orderId)', orderId);
    oneOf('updateOrderStatus(orderId, status)', STATUSES, status);
    const { expected, optimistic } = statusOptions('updateOrderStatus', STATUSES, options);
    await this.#handle.later((glue) => glue.updateOrderStatus(orderId, status, expected, optimistic));
  }

  /** Moves one item of an order; resolves when the server has it and `orders()` shows it. */
  async updateItemStatus(orderId: string, itemId: string, status: ItemStatus, options?: StatusOptions<ItemStatus>): Promise<void> {
    text('updateItemStatus(orderId)', orderId);
    text('updateItemStatus(orderId, itemId)', itemId);
    oneOf('updateItemStatus(orderId, itemId, status)', ITEM_STATUSES, status);
    const { expected, optimistic } = statusOptions('updateItemStatus', ITEM_STATUSES, options);
    await this.#handle.later((glue) => glue.updateItemStatus(orderId, itemId, status, expected, optimistic));
  }

  /**
   * Makes an order; resolves with it when the server has it and `orders()` shows it. A server of the plain dialect
   * answers nothing: there the promise resolves with `undefined` once the message is written.
   */
  async createOrder(order: NewOrder): Promise<Order> {
    if (typeof order !== 'object' || order === null || !Array.isArray(order.items) || order.items.length === 0) {
      throw invalid('createOrder() takes an order with a type and at least one item', order);
    }
    const body = json('createOrder()', order);
    return this.#handle.later((glue) => glue.createOrder(body) as Promise<Order>);
  }

  /**
   * Cancels an order; resolves with it when the server has it and `orders()` shows it. A server of the plain dialect
   * answers nothing: there the promise resolves with `undefined` once the message is written.
   */
  async cancelOrder(orderId: string, reason?: string): Promise<Order> {
    text('cancelOrder(orderId)', orderId);
    const why = optionalText('cancelOrder(orderId, reason)', reason);
    return this.#handle.later((glue) => glue.cancelOrder(orderId, why) as Promise<Order>);
  }

  /** One page of the server's orders, over HTTP; past ones too. Rejects `http_failed`. */
  async fetchOrders(query?: OrdersQuery): Promise<OrdersPage> {
    const given = optionsOf('fetchOrders()', query);
    const signal = optionalSignal('fetchOrders({signal})', given.signal);
    const asked = queryString(given);
    const answer = await this.#handle.later((glue) => glue.fetchOrders(asked, signal) as Promise<{ orders: Order[]; next_cursor?: string | null }>);
    return typeof answer.next_cursor === 'string' ? { orders: answer.orders, nextCursor: answer.next_cursor } : { orders: answer.orders };
  }

  /** One order, over HTTP. Rejects `http_failed`, with `status` 404 where there is none. */
  async fetchOrder(orderId: string, options?: { signal?: AbortSignal | undefined }): Promise<Order> {
    text('fetchOrder(orderId)', orderId);
    const signal = optionalSignal('fetchOrder({signal})', optionsOf('fetchOrder()', options).signal);
    return this.#handle.later((glue) => glue.fetchOrder(orderId, signal) as Promise<Order>);
  }

  /** Ends the object: callbacks end, what is pending rejects `disposed`. The service stays. Twice does nothing. */
  dispose(): void {
    if (this.#handle.live) this.orders();
    this.#handle.dispose();
  }

  /** The same as `dispose()`: `using` works. */
  [dispose](): void {
    this.dispose();
  }
}

function statusOptions<S extends OrderStatus | ItemStatus>(method: string, statuses: readonly S[], options: StatusOptions<S> | undefined) {
  const { expectedStatus, optimistic } = optionsOf(`${method}()`, options);
  const expected = expectedStatus === undefined ? undefined : oneOf(`${method}({expectedStatus})`, statuses, expectedStatus);
  return { expected, optimistic: optionalBoolean(`${method}({optimistic})`, optimistic) ?? false };
}

function queryString(query: OrdersQuery): string {
  const params = new URLSearchParams();
  if (query.status !== undefined) {
    const statuses = typeof query.status === 'string' ? [query.status] : [...query.status];
    for (const status of statuses) oneOf('fetchOrders({status})', STATUSES, status);
    params.set('status', statuses.join(','));
  }
  if (query.since !== undefined) {
    const since = new Date(query.since);
    if (Number.isNaN(since.getTime())) throw invalid('fetchOrders({since}) takes a Date or an RFC 3339 time', query.since);
    params.set('since', since.toISOString());
  }
  const limit = optionalCount('fetchOrders({limit})', query.limit, 1);
  if (limit !== undefined) params.set('limit', String(limit));
  const cursor = optionalText('fetchOrders({cursor})', query.cursor);
  if (cursor !== undefined) params.set('cursor', cursor);
  const minSeq = optionalCount('fetchOrders({minSeq})', query.minSeq);
  if (minSeq !== undefined) params.set('min_seq', String(minSeq));
  return params.toString();
}
