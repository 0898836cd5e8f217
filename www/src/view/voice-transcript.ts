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
  #shown: readonly TranscriptLine[] = [];

  update(lines: readonly TranscriptLine[]): void {
    setAttribute(this.#empty, 'hidden', lines.length > 0);
    if (same(lines, this.#shown)) return;
    this.#shown = lines;
    const box = this.element;
    const follows = box.scrollHeight - box.scrollTop - box.clientHeight < FOLLOWS_WITHIN;
    this.#lines.update(lines);
    if (follows) box.scrollTop = box.scrollHeight;
  }
}

function same(a: readonly TranscriptLine[], b: readonly TranscriptLine[]): boolean {
  return a.length === b.length && a.every((line, index) => {
    const other = b[index];
    return line.id === other?.id && line.text === other.text && line.forming === other.forming && line.interrupted === other.interrupted;
  });
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
    setAttribute(this.#cut, 'hidden', !interrupted);
  }
}
