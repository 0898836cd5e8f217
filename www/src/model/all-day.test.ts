import { expect, it } from 'vitest';
import { allDay } from './all-day';
import { itemOf, orderOf } from './fixture';

const burger = { station: 'Grill' };

it('adds quantities over tickets, most wanted first, and keeps what is done apart', () => {
  const orders = [
    orderOf('a', 'new', 1, { items: [itemOf('Burger', { ...burger, quantity: 2 }), itemOf('Fries', { station: 'Fryer' })] }),
    orderOf('b', 'preparing', 1, { items: [itemOf('Burger', { ...burger, status: 'ready' }), itemOf('Fries', { station: 'Fryer', status: 'cancelled' })] }),
    orderOf('c', 'ready', 1, { items: [itemOf('Burger', burger), itemOf('Salad', { station: 'Cold' })] }),
    orderOf('d', 'completed', 1, { items: [itemOf('Burger', burger)] }),
  ];
  expect(allDay(orders, null)).toEqual([
    { name: 'Burger', open: 2, done: 2 },
    { name: 'Fries', open: 1, done: 0 },
  ]);
  expect(allDay(orders, 'Fryer').map(({ name }) => name)).toEqual(['Fries']);
});
