import { h, setAttribute, setText } from '../dom/h';
import { KeyedList, type View } from '../dom/keyed';
import { lineKey, totalText, type DraftLine, type OrderDraft } from '../model/voice-order';

/** The order as it is being taken, and the way to the kitchen. */
export class VoiceOrderView {
  readonly #title = h('span', {});
  readonly #total = h('span', { class: 'panel-count' });
  readonly #list = h('ul', { class: 'draft-lines' });
  readonly #lines = new KeyedList<DraftLine, LineView>(this.#list, lineKey, () => new LineView());
  readonly #answer = h('p', { class: 'draft-answer', role: 'status', 'data-testid': 'voice-answer' });
  readonly #submit = h('button', { type: 'button', class: 'button voice-submit', 'data-voice': 'submit', 'data-testid': 'voice-submit' }, 'Send to the kitchen');
  readonly element = h(
    'section',
    { class: 'voice-order', 'aria-labelledby': 'voice-order', 'data-testid': 'voice-order' },
    h('h3', { class: 'panel-head', id: 'voice-order' }, this.#title, this.#total),
    this.#list,
    this.#answer,
    this.#submit,
  );
  #shown: OrderDraft | null = null;

  update(draft: OrderDraft, live: boolean): void {
    setAttribute(this.#submit, 'disabled', !live || draft.phase === 'sending' || draft.phase === 'sent');
    if (this.#shown === draft) return;
    this.#shown = draft;
    const { lines, phase } = draft;
    setAttribute(this.element, 'hidden', lines.length === 0);
    setAttribute(this.element, 'data-phase', phase);
    this.#lines.update(lines);
    const dishes = lines.reduce((sum, { quantity }) => sum + quantity, 0);
    const total = totalText(lines);
    setText(this.#total, total === null ? `${dishes}` : `${dishes} · ${total}`);
    setText(this.#title, phase === 'sent' ? 'Order' : 'Order so far');
    setText(this.#answer, answerWords(draft));
    setText(this.#submit, phase === 'sending' ? 'Sending…' : 'Send to the kitchen');
    setAttribute(this.#submit, 'hidden', phase === 'sent');
  }
}

function answerWords({ phase, answer }: OrderDraft): string {
  switch (phase) {
    case 'building':
    case 'sending':
      return '';
    case 'sent':
      return answer === null ? 'It is in the kitchen.' : `Order ${answer} is in the kitchen.`;
    case 'refused':
      return `It was not sent. ${answer ?? ''}`;
  }
}

class LineView implements View<DraftLine> {
  readonly #quantity = h('span', { class: 'item-quantity' });
  readonly #name = h('span', { class: 'item-name' });
  readonly #wishes = h('span', { class: 'item-modifiers' });
  readonly element = h('li', { class: 'draft-line', 'data-testid': 'voice-line' }, this.#quantity, h('span', { class: 'item-words' }, this.#name, this.#wishes));

  update({ quantity, name, size, modifiers }: DraftLine): void {
    setText(this.#quantity, String(quantity));
    setAttribute(this.#quantity, 'data-many', quantity > 1);
    setText(this.#name, name);
    setText(this.#wishes, [...(size === null ? [] : [size]), ...modifiers].join(' · '));
  }
}
