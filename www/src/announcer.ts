import { h } from './dom/h';

const PAUSE_MS = 1_500;

/** Speaks to screen readers, politely and at most every second and a half: a rush is one sentence, not fifty. */
export class Announcer {
  readonly element = h('div', { class: 'visually-hidden', role: 'status', 'aria-live': 'polite' });
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** `compose` is asked for the sentence when it is time to speak; an empty one says nothing. */
  constructor(private readonly compose: () => string) {}

  request(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      const sentence = this.compose();
      if (sentence !== '') this.element.textContent = sentence;
    }, this.element.textContent === '' ? 100 : PAUSE_MS);
  }

  dispose(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
