import type { Order } from 'tautline';

// An order is a new object whenever it changes, so its times are read once for each object.
const made = new WeakMap<Order, number>();
const changed = new WeakMap<Order, number>();

/** When an order was made, ms since 1970; 0 where it does not say. */
export function madeAt(order: Order): number {
  return remembered(made, order, order.created_at);
}

/** When an order last changed, ms since 1970; 0 where it does not say. */
export function changedAt(order: Order): number {
  return remembered(changed, order, order.updated_at);
}

function remembered(times: WeakMap<Order, number>, order: Order, text: string): number {
  let time = times.get(order);
  if (time === undefined) {
    time = Date.parse(text) || 0;
    times.set(order, time);
  }
  return time;
}
