import type { Order, OrderStatus } from 'tautline';

/** An order for tests: `made` minutes after noon, unless told otherwise. */
export function orderOf(id: string, status: OrderStatus, made: number, change: Partial<Order> = {}): Order {
  const at = new Date(Date.UTC(2026, 0, 1, 12, made)).toISOString();
  return {
    id,
    restaurant_id: 'demo',
    order_number: id,
    type: 'dine-in',
    status,
    items: [],
    subtotal: 0,
    total: 0,
    payment_status: 'pending',
    price_verified: false,
    created_at: at,
    updated_at: at,
    ...change,
  } as Order;
}

/** One line of such an order. */
export function itemOf(name: string, change: Partial<Order['items'][number]> = {}): Order['items'][number] {
  return { id: `item-${name}`, menu_item_id: name, name, quantity: 1, price: 5, subtotal: 5, status: 'pending', ...change } as Order['items'][number];
}
