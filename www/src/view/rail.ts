import type { Order } from 'tautline';
import { h, setAttribute, setText } from '../dom/h';
import { KeyedList, type View } from '../dom/keyed';
import type { DishCount } from '../model/all-day';
import { recallTarget } from '../model/board';
import type { Screen } from '../model/screen';
import { changedAt } from '../model/times';
import { customerWords, STATUS_WORDS } from '../model/words';
import { clockText } from '../model/clock';
import { icon } from './icons';

/** Beside the board: what is still to be made in all, and what has just left. */
export class RailView {
  readonly #dishList = h('ul', { class: 'dishes' });
  readonly #dishes = new KeyedList<DishCount, DishView>(this.#dishList, (dish) => dish.name, () => new DishView());
  readonly #dishTotal = h('span', { class: 'panel-count' });
  readonly #noDishes = h('p', { class: 'panel-empty' }, 'Nothing left to make');
  readonly #bumpedList = h('ul', { class: 'bumped' });
  readonly #bumped = new KeyedList<Order, BumpedView>(this.#bumpedList, (order) => order.id, (order) => new BumpedView(order.id));
  readonly #noBumped = h('p', { class: 'panel-empty' }, 'Bumped tickets wait here to be recalled');
  readonly element = h(
    'aside',
    { class: 'rail', 'aria-label': 'All day and just bumped' },
    h('section', { class: 'panel', 'aria-labelledby': 'all-day' }, h('h2', { class: 'panel-head', id: 'all-day' }, h('span', {}, 'All day'), this.#dishTotal), this.#noDishes, this.#dishList),
    h('section', { class: 'panel', 'aria-labelledby': 'just-bumped' }, h('h2', { class: 'panel-head', id: 'just-bumped' }, h('span', {}, 'Just bumped')), this.#noBumped, this.#bumpedList),
  );

  update(screen: Screen): void {
    this.#dishes.update(screen.dishes);
    setText(this.#dishTotal, String(screen.dishes.reduce((sum, dish) => sum + dish.open, 0)));
    setAttribute(this.#noDishes, 'hidden', screen.dishes.length > 0);
    this.#bumped.update(screen.bumped);
    setAttribute(this.#noBumped, 'hidden', screen.bumped.length > 0);
  }
}

class DishView implements View<DishCount> {
  readonly #open = h('span', { class: 'dish-open' });
  readonly #name = h('span', { class: 'dish-name' });
  readonly #done = h('span', { class: 'dish-done' });
  readonly element = h('li', { class: 'dish' }, this.#open, this.#name, this.#done);

  update(dish: DishCount): void {
    setText(this.#open, String(dish.open));
    setText(this.#name, dish.name);
    setText(this.#done, dish.done > 0 ? `✓ ${dish.done}` : '');
    setAttribute(this.#done, 'aria-label', dish.done > 0 ? `${dish.done} done` : null);
  }
}

class BumpedView implements View<Order> {
  readonly #number = h('span', { class: 'bumped-number' });
  readonly #time = h('span', { class: 'bumped-time' });
  readonly #words = h('span', { class: 'bumped-words' });
  readonly #recall = h('button', { type: 'button', class: 'button', 'data-action': 'recall' }, icon('back'), 'Recall');
  readonly element: HTMLElement;
  #shown: Order | null = null;

  constructor(orderId: string) {
    this.element = h('li', { class: 'bumped-order', 'data-testid': 'bumped', 'data-order-id': orderId }, h('div', {}, this.#number, this.#time, this.#words), this.#recall);
  }

  update(order: Order): void {
    if (this.#shown === order) return;
    this.#shown = order;
    setAttribute(this.element, 'data-status', order.status);
    setText(this.#number, String(order.order_number));
    const end = order.status === 'picked-up' ? '' : ` · ${STATUS_WORDS[order.status].toLowerCase()}`;
    setText(this.#time, clockText(changedAt(order)));
    setText(this.#words, `${customerWords(order)}${end}`);
    setAttribute(this.#recall, 'hidden', recallTarget(order.status) === null);
    setAttribute(this.#recall, 'aria-label', `Recall order ${order.order_number}`);
  }
}
