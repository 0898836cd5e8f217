import { h, setAttribute, setText, svg } from '../dom/h';
import { durationText, sparklinePoints } from '../model/sparkline';
import type { VoiceFacts } from '../model/voice';
import { meterOf, nextMeter } from '../model/voice-level';
import { qualityWord } from '../model/voice-words';

const CHART = { width: 180, height: 40 };
const BEST = 5;

/** How the call sounds: both levels as they are, and its quality over the last minutes. */
export class VoiceSoundView {
  readonly #input = new MeterView('You', 'input');
  readonly #output = new MeterView('Answer', 'output');
  readonly #quality = h('strong', { class: 'quality-word', 'data-testid': 'voice-quality' });
  readonly #path = h('span', { class: 'quality-path' });
  readonly #line = svg('polyline', { class: 'chart-line' });
  readonly element: HTMLElement;

  /** `samples`: how many scores fill the chart. */
  constructor(private readonly samples: number) {
    const chart = svg('svg', { class: 'chart', viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': 'Quality of the call over the last minutes' }, this.#line);
    this.element = h(
      'div',
      { class: 'voice-sound' },
      h('div', { class: 'meters' }, this.#input.element, this.#output.element),
      h('div', { class: 'quality' }, h('div', { class: 'quality-words' }, this.#quality, this.#path), chart),
    );
  }

  update({ scores, rttMs, path }: VoiceFacts): void {
    const last = scores.at(-1);
    setAttribute(this.element, 'data-measured', last !== undefined);
    setText(this.#quality, last === undefined ? 'Quality' : `${qualityWord(last)} ${last.toFixed(1)}`);
    setAttribute(this.#quality, 'data-score', last === undefined ? null : last.toFixed(1));
    setText(this.#path, [...(rttMs === null ? [] : [durationText(rttMs)]), ...(path === null ? [] : [path === 'websocket' ? 'WebSocket' : path.toUpperCase()])].join(' · '));
    setAttribute(this.#line, 'points', sparklinePoints(scores, this.samples, CHART.width, CHART.height, BEST));
  }

  /** Moves the meters one frame on; answers whether they are still falling. */
  move(input: number, output: number, still: boolean): boolean {
    const a = this.#input.move(input, still);
    const b = this.#output.move(output, still);
    return a || b;
  }
}

/** A bar that is only ever scaled, which costs no layout. */
class MeterView {
  readonly #bar = h('div', { class: 'meter-bar' });
  readonly element: HTMLElement;
  #shown = 0;

  constructor(label: string, id: string) {
    this.element = h('div', { class: 'meter', 'data-testid': `voice-level-${id}` }, h('span', { class: 'meter-label' }, label), h('div', { class: 'meter-track', 'aria-hidden': 'true' }, this.#bar));
  }

  move(amplitude: number, still: boolean): boolean {
    const wanted = meterOf(amplitude);
    const next = nextMeter(this.#shown, wanted, still);
    if (next !== this.#shown) this.#bar.style.transform = `scaleX(${next.toFixed(3)})`;
    this.#shown = next;
    return !still && next > wanted;
  }
}
