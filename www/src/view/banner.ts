import { h, setAttribute, setText } from '../dom/h';
import type { Screen } from '../model/screen';
import { bannerWords } from '../model/words';
import { icon } from './icons';

/** Says up to when the board can be vouched for, whenever that is not "now". */
export class BannerView {
  readonly #title = h('strong', { class: 'banner-title', role: 'alert' });
  readonly #advice = h('span', { class: 'banner-advice' });
  readonly #remedy = h('button', { type: 'button', class: 'button' });
  readonly element = h(
    'div',
    { class: 'banner', role: 'region', 'aria-label': 'Connection', 'data-testid': 'stale-banner', hidden: true },
    icon('warning'),
    h('div', { class: 'banner-words' }, this.#title, this.#advice),
    this.#remedy,
  );

  update(screen: Screen, due: boolean): void {
    const words = due ? bannerWords(screen.connection) : null;
    setAttribute(this.element, 'hidden', words === null);
    if (!words) return;
    setAttribute(this.element, 'data-state', screen.connection.state);
    setText(this.#title, words.title);
    setText(this.#advice, words.advice);
    setAttribute(this.#remedy, 'hidden', words.remedy === null);
    setAttribute(this.#remedy, 'data-action', words.remedy);
    setText(this.#remedy, words.remedy === 'try-now' ? 'Try now' : 'Connect');
  }
}
