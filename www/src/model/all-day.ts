import type { Order } from 'tautline';
import { columnOf } from './board';

export interface DishCount {
  readonly name: string;
  /** Still to be made, over every ticket on the board. */
  readonly open: number;
  /** Ticked off on tickets that have not left the board yet. */
  readonly done: number;
}

/** The all-day list: how many of each dish the board still asks for. Orders at the pass ask for nothing more. */
export function allDay(orders: readonly Order[], station: string | null): readonly DishCount[] {
  const counts = new Map<string, { open: number; done: number }>();
  for (const order of orders) {
    if (!columnOf(order.status)) continue;
    for (const item of order.items) {
      if (item.status === 'cancelled') continue;
      if (station !== null && item.station && item.station !== station) continue;
      const count = counts.get(item.name) ?? { open: 0, done: 0 };
      const made = order.status === 'ready' || item.status === 'ready' || item.status === 'served';
      if (made) count.done += item.quantity;
      else count.open += item.quantity;
      counts.set(item.name, count);
    }
  }
  return [...counts]
    .map(([name, count]) => ({ name, ...count }))
    .filter((dish) => dish.open > 0)
    .sort((a, b) => b.open - a.open || a.name.localeCompare(b.name, 'en'));
}
