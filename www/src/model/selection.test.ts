import { describe, expect, it } from 'vitest';
import { boardOf } from './board';
import { orderOf } from './fixture';
import { activeColumn, moveSelection, nthOrderId, settleSelection, type Selection } from './selection';

const orders = [orderOf('n1', 'new', 1), orderOf('n2', 'new', 2), orderOf('n3', 'new', 3), orderOf('p1', 'preparing', 1), orderOf('p2', 'preparing', 2)];
const board = boardOf(orders, null);
const at = (column: Selection['column'], orderId: string | null): Selection => ({ column, orderId });

describe('number keys', () => {
  it('mean the first column with tickets until another is chosen', () => {
    expect(activeColumn(board, null)).toBe('new');
    expect(activeColumn(boardOf(orders.slice(3), null), null)).toBe('preparing');
    expect(nthOrderId(board, null, 1)).toBe('n2');
    expect(nthOrderId(board, at('preparing', 'p2'), 0)).toBe('p1');
    expect(nthOrderId(board, null, 9)).toBeNull();
  });
});

describe('moveSelection', () => {
  it('starts at the top, stops at the ends, skips empty columns and keeps its height', () => {
    expect(moveSelection(board, null, 'down')).toEqual(at('new', 'n1'));
    expect(moveSelection(board, at('new', 'n3'), 'down')).toEqual(at('new', 'n3'));
    expect(moveSelection(board, at('new', 'n1'), 'up')).toEqual(at('new', 'n1'));
    expect(moveSelection(board, at('new', 'n3'), 'right')).toEqual(at('preparing', 'p2'));
    expect(moveSelection(board, at('preparing', 'p2'), 'left')).toEqual(at('new', 'n2'));
    expect(moveSelection(board, at('preparing', 'p1'), 'right')).toEqual(at('preparing', 'p1'));
  });

  it('has nowhere to go on an empty board', () => {
    const empty = boardOf([], null);
    expect(moveSelection(empty, null, 'down')).toBeNull();
    expect(moveSelection(empty, null, 'right')).toBeNull();
  });
});

describe('settleSelection', () => {
  it('hands the selection to the ticket that took the place', () => {
    const without = (id: string) => boardOf(orders.filter((order) => order.id !== id), null);
    expect(settleSelection(board, without('n2'), at('new', 'n2'))).toEqual(at('new', 'n3'));
    expect(settleSelection(board, without('n3'), at('new', 'n3'))).toEqual(at('new', 'n2'));
    expect(settleSelection(board, boardOf([], null), at('new', 'n1'))).toEqual(at('new', null));
  });

  it('leaves a selection that still holds alone', () => {
    const selection = at('new', 'n1');
    expect(settleSelection(board, board, selection)).toBe(selection);
    expect(settleSelection(board, board, null)).toBeNull();
  });
});
