import { h, setText } from '../dom/h';
import { KeyedList, type View } from '../dom/keyed';
import type { Notice } from '../model/screen';

/** Sentences in the corner: refused changes and cancelled orders. */
export class NoticesView {
  readonly element = h('div', { class: 'notices', role: 'alert' });
  readonly #list = new KeyedList<Notice, NoticeView>(this.element, (notice) => String(notice.id), (notice) => new NoticeView(notice));

  update(notices: readonly Notice[]): void {
    this.#list.update(notices);
  }
}

class NoticeView implements View<Notice> {
  readonly #text = h('p', {});
  readonly element: HTMLElement;

  constructor({ id, tone }: Notice) {
    this.element = h('div', { class: 'notice', 'data-tone': tone }, this.#text, h('button', { type: 'button', class: 'notice-close', 'data-action': 'dismiss', 'data-notice': id, 'aria-label': 'Dismiss' }, '×'));
  }

  update({ text }: Notice): void {
    setText(this.#text, text);
  }
}
