import type { Order } from 'tautline';
import { h, setAttribute, setText } from '../dom/h';
import { KeyedList, type View } from '../dom/keyed';
import { ageText, type AgeLevel } from '../model/ageing';
import { allItemsDone, columnOf } from '../model/board';
import { customerWords, STATUS_WORDS } from '../model/words';
import { icon } from './icons';

type Item = Order['items'][number];

/** One ticket, as the board shows it. */
export interface TicketFacts {
  readonly order: Order;
  readonly minutes: number;
  readonly level: AgeLevel;
  readonly selected: boolean;
  /** The number key that bumps it, where it has one. */
  readonly key: string | null;
  readonly station: string | null;
  readonly pending: boolean;
  readonly arrived: boolean;
}

/** A ticket's element. It touches the DOM only for what differs from the last time. */
export class TicketView implements View<TicketFacts> {
  readonly #number = h('span', { class: 'ticket-number' });
  readonly #who = h('span', { class: 'ticket-who' });
  readonly #ageValue = h('span', { class: 'ticket-age-value' });
  readonly #ageUnit = h('span', { class: 'ticket-age-unit' });
  readonly #note = h('p', { class: 'ticket-note', hidden: true });
  readonly #itemList = h('ul', { class: 'items' });
  readonly #items: KeyedList<ItemFacts, ItemView>;
  readonly #recall = h('button', { type: 'button', class: 'ticket-recall', 'data-action': 'recall' }, icon('back'));
  readonly #bumpLabel = h('span', { class: 'ticket-bump-label' });
  readonly #bumpKey = h('kbd', { class: 'ticket-key', 'aria-hidden': 'true' });
  readonly #bump = h('button', { type: 'button', class: 'ticket-bump', 'data-action': 'bump' }, this.#bumpLabel, this.#bumpKey);
  readonly element: HTMLElement;
  #shown: TicketFacts | null = null;

  constructor(orderId: string) {
    this.#items = new KeyedList<ItemFacts, ItemView>(this.#itemList, (facts) => facts.item.id, () => new ItemView());
    this.element = h(
      'article',
      { class: 'ticket', tabindex: 0, 'data-testid': 'ticket', 'data-order-id': orderId, 'aria-keyshortcuts': 'Enter' },
      h(
        'header',
        { class: 'ticket-band' },
        h('div', { class: 'ticket-title' }, this.#number, this.#who),
        h('div', { class: 'ticket-age' }, this.#ageValue, this.#ageUnit),
      ),
      this.#note,
      this.#itemList,
      h('footer', { class: 'ticket-actions' }, this.#recall, this.#bump),
    );
  }

  update(facts: TicketFacts): void {
    const shown = this.#shown;
    this.#shown = facts;
    if (shown?.order !== facts.order || shown.station !== facts.station || shown.selected !== facts.selected) {
      this.#updateOrder(facts);
    }
    if (shown?.minutes !== facts.minutes) {
      const age = ageText(facts.minutes);
      setText(this.#ageValue, age.value);
      setText(this.#ageUnit, age.unit);
    }
    if (shown?.order !== facts.order || shown.minutes !== facts.minutes || shown.level !== facts.level) {
      setAttribute(this.element, 'aria-label', labelOf(facts));
    }
    if (shown?.key !== facts.key) {
      setText(this.#bumpKey, facts.key ?? '');
      setAttribute(this.#bumpKey, 'hidden', facts.key === null);
    }
    setAttribute(this.element, 'data-age', facts.level);
    setAttribute(this.element, 'data-selected', facts.selected);
    setAttribute(this.element, 'data-pending', facts.pending);
    setAttribute(this.element, 'data-arrived', facts.arrived);
  }

  #updateOrder({ order, station, selected }: TicketFacts): void {
    const column = columnOf(order.status);
    setAttribute(this.element, 'data-status', order.status);
    setAttribute(this.element, 'data-done', allItemsDone(order));
    setText(this.#number, String(order.order_number));
    setText(this.#who, customerWords(order));
    setText(this.#note, order.notes ?? '');
    setAttribute(this.#note, 'hidden', !order.notes);
    const tabindex = selected ? 0 : -1;
    this.#items.update(order.items.map((item) => ({ item, elsewhere: station !== null && !!item.station && item.station !== station, tabindex })));
    setText(this.#bumpLabel, column?.bump.label ?? '');
    setAttribute(this.#bump, 'aria-label', `${column?.bump.label ?? 'Bump'}: move order ${order.order_number} to ${column ? STATUS_WORDS[column.bump.to] : ''}`);
    setAttribute(this.#bump, 'tabindex', tabindex);
    setAttribute(this.#recall, 'hidden', !column?.recallTo);
    setAttribute(this.#recall, 'aria-label', `Recall: take order ${order.order_number} back to ${column?.recallTo ? STATUS_WORDS[column.recallTo] : ''}`);
    setAttribute(this.#recall, 'tabindex', tabindex);
  }
}

function labelOf({ order, minutes, level }: TicketFacts): string {
  const age = minutes === 1 ? '1 minute' : `${minutes} minutes`;
  const urgency = level === 'late' ? ', late' : level === 'warm' ? ', soon late' : '';
  const dishes = order.items.length === 1 ? '1 item' : `${order.items.length} items`;
  return `Order ${order.order_number}, ${customerWords(order)}, ${age}${urgency}, ${dishes}`;
}

interface ItemFacts {
  readonly item: Item;
  /** Another station's item, while the board is filtered. */
  readonly elsewhere: boolean;
  /** Only the selected ticket's controls are tab stops, so that Tab goes from ticket to ticket. */
  readonly tabindex: number;
}

/** One line of a ticket: a button that ticks it off. */
class ItemView implements View<ItemFacts> {
  readonly #quantity = h('span', { class: 'item-quantity' });
  readonly #name = h('span', { class: 'item-name' });
  readonly #wishes = h('span', { class: 'item-modifiers' });
  readonly #instructions = h('span', { class: 'item-instructions' });
  readonly #button = h(
    'button',
    { type: 'button', class: 'item', 'data-action': 'tick' },
    h('span', { class: 'item-check' }, icon('check')),
    this.#quantity,
    h('span', { class: 'item-words' }, this.#name, this.#wishes, this.#instructions),
  );
  readonly element = h('li', {}, this.#button);
  #shown: Item | null = null;

  update({ item, elsewhere, tabindex }: ItemFacts): void {
    setAttribute(this.element, 'data-elsewhere', elsewhere);
    setAttribute(this.#button, 'tabindex', tabindex);
    if (this.#shown === item) return;
    this.#shown = item;
    const done = item.status === 'ready' || item.status === 'served';
    setAttribute(this.#button, 'data-item-id', item.id);
    setAttribute(this.#button, 'data-status', item.status);
    setAttribute(this.#button, 'aria-pressed', String(done));
    setAttribute(this.#button, 'disabled', item.status === 'served' || item.status === 'cancelled');
    setText(this.#quantity, String(item.quantity));
    setAttribute(this.#quantity, 'data-many', item.quantity > 1);
    setText(this.#name, item.name);
    setText(this.#wishes, (item.modifiers ?? []).map((modifier) => modifier.name).join(' · '));
    setText(this.#instructions, item.special_instructions ?? '');
  }
}

