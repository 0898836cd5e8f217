import type { Order } from 'tautline';
import { h, setAttribute, setText } from '../dom/h';
import { place } from '../dom/keyed';
import { ageLevel, ageMinutes } from '../model/ageing';
import { COLUMNS, type Column, type ColumnId } from '../model/board';
import { keyLabel } from '../model/keys';
import type { Screen } from '../model/screen';
import { madeAt } from '../model/times';
import { TicketView } from './ticket';

/** The columns and their tickets. A ticket keeps its element when it changes columns. */
export class BoardView {
  readonly #columns = COLUMNS.map((column) => new ColumnView(column));
  readonly element = h(
    'section',
    { class: 'board', id: 'board', tabindex: -1, 'aria-label': 'Tickets' },
    ...this.#columns.map((column) => column.element),
  );
  #tickets = new Map<string, TicketView>();

  update(screen: Screen): void {
    const next = new Map<string, TicketView>();
    for (const view of this.#columns) {
      const active = view.column.id === screen.active;
      screen.board[view.column.id].forEach((order, index) => {
        const ticket = this.#tickets.get(order.id) ?? new TicketView(order.id);
        ticket.update(this.#facts(screen, order, active ? index : null));
        next.set(order.id, ticket);
      });
    }
    this.#tickets = next;
    const everywhere = new Set([...next.values()].map((ticket) => ticket.element));
    for (const view of this.#columns) {
      const orders = screen.board[view.column.id];
      view.update(orders.length, view.column.id === screen.active, screen);
      place(view.list, orders.flatMap((order) => next.get(order.id)?.element ?? []), everywhere);
    }
  }

  ticket(orderId: string): HTMLElement | null {
    return this.#tickets.get(orderId)?.element ?? null;
  }

  column(id: ColumnId): HTMLElement | null {
    return this.#columns.find((view) => view.column.id === id)?.element ?? null;
  }

  #facts(screen: Screen, order: Order, index: number | null) {
    const minutes = ageMinutes(madeAt(order), screen.now);
    return {
      order,
      minutes,
      level: ageLevel(minutes, screen.settings.limits),
      selected: screen.selection?.orderId === order.id,
      key: index !== null && screen.settings.keys ? keyLabel(index) : null,
      station: screen.settings.station,
      pending: screen.pending.has(order.id),
      arrived: screen.arrived.has(order.id),
    };
  }
}

const EMPTY: Readonly<Record<ColumnId, string>> = {
  new: 'No new orders. Press N to place one.',
  confirmed: 'Nothing to start',
  preparing: 'Nothing on the stove',
  ready: 'Nothing at the pass',
};

class ColumnView {
  readonly #count = h('span', { class: 'column-count' });
  readonly #empty = h('p', { class: 'column-empty' });
  readonly list = h('div', { class: 'tickets' });
  readonly element: HTMLElement;

  constructor(readonly column: Column) {
    const heading = `column-${column.id}`;
    this.element = h(
      'section',
      { class: 'column', 'data-column': column.id, 'aria-labelledby': heading },
      h('h2', { class: 'column-head', id: heading }, h('span', {}, column.title), this.#count),
      this.#empty,
      this.list,
    );
  }

  update(count: number, active: boolean, screen: Screen): void {
    setText(this.#count, String(count));
    setAttribute(this.element, 'data-active', active);
    setAttribute(this.element, 'data-empty', count === 0);
    setText(this.#empty, screen.loaded ? EMPTY[this.column.id] : '');
  }
}
