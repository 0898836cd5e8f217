import type { Order, OrderStatus, OrderUpdates } from 'tautline';
import { bumpTarget, recallTarget } from './model/board';
import { randomOrder } from './model/menu';
import { refusalWords, STATUS_WORDS } from './model/words';
import { isQuiet } from './session';

/** What happens to the outcome of a change. */
export interface KitchenEvents {
  changed(): void;
  refused(words: string): void;
}

/**
 * The changes a kitchen makes to orders. Each goes through the client, which shows it at once and takes it back
 * if the relay refuses; what is left to do here is to say why.
 */
export class Kitchen {
  readonly #inFlight = new Map<string, number>();
  /** Orders bumped on this screen, latest last: what "recall the last" goes through. */
  readonly #bumps: string[] = [];

  constructor(
    private readonly orders: OrderUpdates,
    private readonly events: KitchenEvents,
  ) {}

  /** Orders with a change that is not acknowledged yet. */
  pending(): ReadonlySet<string> {
    return new Set(this.#inFlight.keys());
  }

  bump(orderId: string): void {
    const order = this.find(orderId);
    const to = order && bumpTarget(order.status);
    if (!order || !to) return;
    this.#bumps.push(orderId);
    if (this.#bumps.length > 50) this.#bumps.shift();
    this.#move(order, to);
  }

  recall(orderId: string): void {
    const order = this.find(orderId);
    const to = order && recallTarget(order.status);
    if (!order || !to) return;
    const last = this.#bumps.lastIndexOf(orderId);
    if (last >= 0) this.#bumps.splice(last, 1);
    this.#move(order, to);
  }

  /** Takes back the last bump of this screen that still can be; answers whether there was one. */
  recallLast(): boolean {
    for (let id = this.#bumps.pop(); id !== undefined; id = this.#bumps.pop()) {
      const order = this.find(id);
      if (!order || !recallTarget(order.status)) continue;
      this.recall(id);
      return true;
    }
    return false;
  }

  /** Ticks an item off, or takes the tick back. */
  tick(orderId: string, itemId: string): void {
    const order = this.find(orderId);
    const item = order?.items.find((candidate) => candidate.id === itemId);
    if (!order || !item || item.status === 'served' || item.status === 'cancelled') return;
    const done = item.status !== 'ready';
    const change = this.orders.updateItemStatus(orderId, itemId, done ? 'ready' : 'preparing', { expectedStatus: item.status, optimistic: true });
    this.#track(orderId, change, () =>
      `${item.name} on order ${order.order_number} was not ${done ? 'ticked off' : 'taken back'}`,
    );
  }

  async placeRandomOrder(): Promise<void> {
    try {
      await this.orders.createOrder(randomOrder(Math.random));
    } catch (error) {
      if (!isQuiet(error)) this.events.refused(refusalWords('The order was not placed', undefined, error));
    }
  }

  find(orderId: string): Order | undefined {
    return this.orders.orders().find((order) => order.id === orderId);
  }

  #move(order: Order, to: OrderStatus): void {
    const change = this.orders.updateOrderStatus(order.id, to, { expectedStatus: order.status, optimistic: true });
    this.#track(order.id, change, () => `Order ${order.order_number} was not moved to ${STATUS_WORDS[to]}`);
  }

  #track(orderId: string, change: Promise<void>, undone: () => string): void {
    this.#inFlight.set(orderId, (this.#inFlight.get(orderId) ?? 0) + 1);
    this.events.changed();
    change
      .catch((error: unknown) => {
        if (!isQuiet(error)) this.events.refused(refusalWords(undone(), this.find(orderId), error));
      })
      .finally(() => {
        const left = (this.#inFlight.get(orderId) ?? 1) - 1;
        if (left > 0) this.#inFlight.set(orderId, left);
        else this.#inFlight.delete(orderId);
        this.events.changed();
      });
  }
}
