import { describe, expect, it } from 'vitest';
import { allItemsDone, boardOf, bumpedOf, bumpTarget, recallTarget, stationsOf } from './board';
import { itemOf, orderOf } from './fixture';

describe('boardOf', () => {
  it('puts new and pending together, oldest first, and leaves out what has left', () => {
    const board = boardOf(
      [orderOf('b', 'pending', 2), orderOf('a', 'new', 1), orderOf('c', 'ready', 0), orderOf('d', 'picked-up', 0), orderOf('e', 'cancelled', 0)],
      null,
    );
    expect(board.new.map(({ id }) => id)).toEqual(['a', 'b']);
    expect(board.ready.map(({ id }) => id)).toEqual(['c']);
    expect([...board.confirmed, ...board.preparing]).toEqual([]);
  });

  it('orders twins of one moment by id, so that a render never swaps them', () => {
    const twins = [orderOf('b', 'new', 1), orderOf('a', 'new', 1)];
    expect(boardOf(twins, null).new.map(({ id }) => id)).toEqual(['a', 'b']);
    expect(boardOf(twins.reverse(), null).new.map(({ id }) => id)).toEqual(['a', 'b']);
  });

  it('filters by station; an item without one is everybody’s', () => {
    const grill = orderOf('a', 'new', 1, { items: [itemOf('burger', { station: 'Grill' })] });
    const cold = orderOf('b', 'new', 2, { items: [itemOf('salad', { station: 'Cold' })] });
    const both = orderOf('c', 'new', 3, { items: [itemOf('water')] });
    expect(boardOf([grill, cold, both], 'Grill').new.map(({ id }) => id)).toEqual(['a', 'c']);
  });
});

describe('stationsOf', () => {
  it('lists the stations at work, and the selected one even when it has nothing to do', () => {
    const orders = [orderOf('a', 'new', 1, { items: [itemOf('x', { station: 'Oven' })] }), orderOf('b', 'completed', 1, { items: [itemOf('y', { station: 'Bar' })] })];
    expect(stationsOf(orders, 'Cold')).toEqual(['Cold', 'Oven']);
  });
});

describe('bump and recall', () => {
  it('go one column forward and one state back', () => {
    expect(['new', 'pending', 'confirmed', 'preparing', 'ready', 'picked-up'].map((status) => bumpTarget(status as never))).toEqual([
      'confirmed', 'confirmed', 'preparing', 'ready', 'picked-up', null,
    ]);
    expect(['new', 'pending', 'confirmed', 'preparing', 'ready', 'picked-up', 'completed', 'cancelled'].map((status) => recallTarget(status as never))).toEqual([
      null, null, 'pending', 'confirmed', 'preparing', 'ready', null, null,
    ]);
  });
});

describe('bumpedOf', () => {
  it('lists what left the board, newest first', () => {
    const orders = [orderOf('a', 'picked-up', 1), orderOf('b', 'completed', 3), orderOf('c', 'ready', 5), orderOf('d', 'cancelled', 2)];
    expect(bumpedOf(orders, 2).map(({ id }) => id)).toEqual(['b', 'd']);
  });
});

describe('allItemsDone', () => {
  it('asks of an order without dishes nothing, and of a cancelled dish neither', () => {
    expect(allItemsDone(orderOf('a', 'preparing', 0))).toBe(false);
    expect(allItemsDone(orderOf('a', 'preparing', 0, { items: [itemOf('x', { status: 'ready' }), itemOf('y')] }))).toBe(false);
    expect(allItemsDone(orderOf('a', 'preparing', 0, { items: [itemOf('x', { status: 'ready' }), itemOf('y', { status: 'cancelled' })] }))).toBe(true);
  });
});
