import { h, setAttribute, setText } from '../dom/h';
import { KeyedList, type View } from '../dom/keyed';
import type { TranscriptLine } from '../model/voice';

/** This near the end, a reader is taken to follow what is said. */
const FOLLOWS_WITHIN = 40;

/** What was said, as it forms. It follows the end, unless somebody has scrolled up to read. */
export class TranscriptView {
  readonly #list = h('ol', { class: 'said' });
  readonly #lines = new KeyedList<TranscriptLine, LineView>(this.#list, (line) => line.id, ({ who }) => new LineView(who));
  readonly #empty = h('p', { class: 'panel-empty' }, 'What is said appears here. Order by voice, or type below.');
  readonly element = h(
    'div',
    { class: 'voice-transcript', role: 'log', 'aria-label': 'What was said', tabindex: 0, 'data-testid': 'voice-transcript' },
    this.#empty,
    this.#list,
  );

  /** Whether the end is in sight: asked before anything is changed, it tells whether to show the new one. */
  get follows(): boolean {
    const { scrollHeight, scrollTop, clientHeight } = this.element;
    return scrollHeight - scrollTop - clientHeight < FOLLOWS_WITHIN;
  }

  update(lines: readonly TranscriptLine[]): void {
    setAttribute(this.#empty, 'hidden', lines.length > 0);
    this.#lines.update(lines);
  }

  toEnd(): void {
    this.element.scrollTop = this.element.scrollHeight;
  }
}

class LineView implements View<TranscriptLine> {
  readonly #text = h('span', { class: 'said-text' });
  readonly #cut = h('span', { class: 'said-cut', hidden: true }, 'interrupted');
  readonly element: HTMLElement;

  constructor(who: TranscriptLine['who']) {
    this.element = h('li', { class: 'said-line', 'data-who': who }, h('span', { class: 'said-who' }, who === 'guest' ? 'Guest' : 'Answer'), this.#text, this.#cut);
  }

  update({ text, remark, forming, interrupted }: TranscriptLine): void {
    setText(this.#text, text);
    setAttribute(this.element, 'data-remark', remark);
    setAttribute(this.element, 'data-forming', forming);
    setAttribute(this.element, 'data-interrupted', interrupted);
    setAttribute(this.#cut, 'hidden', !interrupted || remark);
  }
}
