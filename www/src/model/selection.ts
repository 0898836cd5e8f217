import { COLUMNS, type Board, type ColumnId } from './board';

/** Where the bump bar is: a column, and the ticket in it that Enter would bump. */
export interface Selection {
  readonly column: ColumnId;
  readonly orderId: string | null;
}

export type Move = 'up' | 'down' | 'left' | 'right';

/** The column the number keys act on: the selected one, or the first that has a ticket. */
export function activeColumn(board: Board, selection: Selection | null): ColumnId {
  if (selection) return selection.column;
  return COLUMNS.find((column) => board[column.id].length > 0)?.id ?? 'new';
}

/** The nth ticket (from 0) of the active column: what a bump bar's number key means. */
export function nthOrderId(board: Board, selection: Selection | null, index: number): string | null {
  return board[activeColumn(board, selection)][index]?.id ?? null;
}

/** Where an arrow key leads. Left and right keep the height and skip empty columns. */
export function moveSelection(board: Board, selection: Selection | null, move: Move): Selection | null {
  const column = activeColumn(board, selection);
  const orders = board[column];
  const index = orders.findIndex((order) => order.id === selection?.orderId);
  if (move === 'up' || move === 'down') {
    if (orders.length === 0) return selection;
    const next = index < 0 ? 0 : clamp(index + (move === 'down' ? 1 : -1), orders.length);
    return { column, orderId: orders[next]?.id ?? null };
  }
  const step = move === 'right' ? 1 : -1;
  const start = COLUMNS.findIndex((candidate) => candidate.id === column);
  for (let at = start + step; at >= 0 && at < COLUMNS.length; at += step) {
    const target = COLUMNS[at];
    if (!target) break;
    const there = board[target.id];
    const order = there[clamp(Math.max(index, 0), there.length)];
    if (order) return { column: target.id, orderId: order.id };
  }
  return selection;
}

/**
 * Keeps a selection meaningful after the board changed. A ticket that left its column hands the selection to
 * the one that took its place, as a cook reads on from where the ticket hung.
 */
export function settleSelection(before: Board, after: Board, selection: Selection | null): Selection | null {
  if (!selection?.orderId) return selection;
  const now = after[selection.column];
  if (now.some((order) => order.id === selection.orderId)) return selection;
  const was = before[selection.column].findIndex((order) => order.id === selection.orderId);
  const heir = now[clamp(Math.max(was, 0), now.length)];
  return { column: selection.column, orderId: heir?.id ?? null };
}

function clamp(index: number, length: number): number {
  return Math.min(Math.max(index, 0), Math.max(length - 1, 0));
}
