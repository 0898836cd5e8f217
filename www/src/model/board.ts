import type { Order, OrderStatus } from 'tautline';
import { changedAt, madeAt } from './times';

/** A column of the board: the states a kitchen thinks of as one place. */
export type ColumnId = 'new' | 'confirmed' | 'preparing' | 'ready';

export interface Column {
  readonly id: ColumnId;
  readonly title: string;
  readonly statuses: readonly OrderStatus[];
  /** What a bump out of this column is called, and the state it leads to. */
  readonly bump: { readonly label: string; readonly to: OrderStatus };
  /** The state a recall leads back to: one step (protocol.md §1, Order, items, states). */
  readonly recallTo: OrderStatus | null;
}

export const COLUMNS: readonly Column[] = [
  { id: 'new', title: 'New', statuses: ['new', 'pending'], bump: { label: 'Confirm', to: 'confirmed' }, recallTo: null },
  { id: 'confirmed', title: 'Confirmed', statuses: ['confirmed'], bump: { label: 'Start', to: 'preparing' }, recallTo: 'pending' },
  { id: 'preparing', title: 'Preparing', statuses: ['preparing'], bump: { label: 'Ready', to: 'ready' }, recallTo: 'confirmed' },
  { id: 'ready', title: 'Ready', statuses: ['ready'], bump: { label: 'Picked up', to: 'picked-up' }, recallTo: 'preparing' },
];

export function columnOf(status: OrderStatus): Column | undefined {
  return COLUMNS.find((column) => column.statuses.includes(status));
}

/** Where a recall takes an order, or null where it cannot go back. */
export function recallTarget(status: OrderStatus): OrderStatus | null {
  if (status === 'picked-up') return 'ready';
  return columnOf(status)?.recallTo ?? null;
}

/** The state a bump leads to, or null where the kitchen has nothing more to do with it. */
export function bumpTarget(status: OrderStatus): OrderStatus | null {
  return columnOf(status)?.bump.to ?? null;
}

export type Board = Readonly<Record<ColumnId, readonly Order[]>>;

/** Sorts the live set into columns, oldest first: the order in which a kitchen cooks. */
export function boardOf(orders: readonly Order[], station: string | null): Board {
  const board: Record<ColumnId, Order[]> = { new: [], confirmed: [], preparing: [], ready: [] };
  for (const order of orders) {
    const column = columnOf(order.status);
    if (column && concerns(order, station)) board[column.id].push(order);
  }
  for (const column of COLUMNS) board[column.id].sort(byAge);
  return board;
}

/** Whether a station has anything to do for an order; items without a station are everybody's. */
export function concerns(order: Order, station: string | null): boolean {
  return station === null || order.items.some((item) => item.station === station || !item.station);
}

/** Every station named by an order on the board, sorted; the selected one stays even when it has no order. */
export function stationsOf(orders: readonly Order[], selected: string | null): readonly string[] {
  const names = new Set<string>();
  if (selected !== null) names.add(selected);
  for (const order of orders) {
    if (!columnOf(order.status)) continue;
    for (const item of order.items) if (item.station) names.add(item.station);
  }
  return [...names].sort((a, b) => a.localeCompare(b, 'en'));
}

/** What left the board, newest first: picked up, completed and cancelled orders. */
export function bumpedOf(orders: readonly Order[], limit: number): readonly Order[] {
  return orders
    .filter((order) => order.status === 'picked-up' || order.status === 'completed' || order.status === 'cancelled')
    .sort((a, b) => changedAt(b) - changedAt(a) || compareIds(b, a))
    .slice(0, limit);
}

/** All that an order is waiting for is done: its bump is the natural next move. */
export function allItemsDone(order: Order): boolean {
  const wanted = order.items.filter((item) => item.status !== 'cancelled');
  return wanted.length > 0 && wanted.every((item) => item.status === 'ready' || item.status === 'served');
}

function byAge(a: Order, b: Order): number {
  return madeAt(a) - madeAt(b) || compareIds(a, b);
}

function compareIds(a: Order, b: Order): number {
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
