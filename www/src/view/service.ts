import { h, setAttribute, setText, svg } from '../dom/h';
import { KeyedList, type View } from '../dom/keyed';
import type { Screen, ServiceFacts } from '../model/screen';
import { durationText, niceCeiling, sparklinePoints } from '../model/sparkline';
import { TROUBLES } from '../model/trouble';
import { icon } from './icons';

const CHART = { width: 240, height: 56, samples: 60, floorMs: 5 };

/** The service panel: what the connection has been through, what it holds, and how to give it trouble. */
export class ServiceView {
  readonly #line = svg('polyline', { class: 'chart-line' });
  readonly #area = svg('polygon', { class: 'chart-area' });
  readonly #ceiling = h('span', { class: 'chart-ceiling' });
  readonly #latency = h('strong', { class: 'latency' });
  readonly #counterList = h('dl', { class: 'counters' });
  readonly #counters = new KeyedList<CounterFacts, CounterView>(this.#counterList, (facts) => facts.name, (facts) => new CounterView(facts.name));
  readonly #ledgerList = h('dl', { class: 'ledger', 'data-testid': 'ledger' });
  readonly #ledger = new KeyedList<LedgerFacts, LedgerView>(this.#ledgerList, (facts) => facts.kind, (facts) => new LedgerView(facts.kind));
  readonly #ledgerTotal = h('span', { class: 'panel-count' });
  readonly #rush = new RushView();
  readonly #fold = h('button', { type: 'button', class: 'fold', 'data-action': 'fold', 'aria-controls': 'service' }, icon('chevron'));
  readonly element: HTMLElement;

  constructor() {
    const chart = svg('svg', { class: 'chart', viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': 'Latency over the last pings' }, this.#area, this.#line);
    this.element = h(
      'section',
      { class: 'service', id: 'service', 'aria-label': 'Service' },
      h('section', { class: 'service-part service-connection', 'aria-labelledby': 'service-connection' },
        h('h2', { class: 'panel-head', id: 'service-connection' }, h('span', {}, 'Connection'), this.#latency),
        h('div', { class: 'chart-box' }, chart, this.#ceiling),
        this.#counterList,
      ),
      h('section', { class: 'service-part service-ledger', 'aria-labelledby': 'service-ledger' },
        h('h2', { class: 'panel-head', id: 'service-ledger', title: 'Every socket, timer, listener and closure the client holds in this browser' }, h('span', {}, 'Resources held'), this.#ledgerTotal),
        this.#ledgerList,
      ),
      h('section', { class: 'service-part service-trouble', 'aria-labelledby': 'service-trouble' },
        h('h2', { class: 'panel-head', id: 'service-trouble' }, h('span', {}, 'Make trouble')),
        h('ul', { class: 'troubles' },
          ...TROUBLES.map(({ kind, label, sentence }) =>
            h('li', { class: 'trouble' },
              h('button', { type: 'button', class: 'button', 'data-action': 'trouble', 'data-kind': kind, 'data-testid': `trouble-${kind}`, 'aria-describedby': `trouble-${kind}`, title: sentence }, label),
              h('p', { class: 'trouble-sentence', id: `trouble-${kind}` }, sentence),
            ),
          ),
          this.#rush.element,
        ),
      ),
      this.#fold,
    );
  }

  update(screen: Screen, unfolded: boolean): void {
    setAttribute(this.element, 'data-unfolded', unfolded);
    setAttribute(this.#fold, 'aria-expanded', String(unfolded));
    setAttribute(this.#fold, 'aria-label', unfolded ? 'Fold the service panel' : 'Unfold the service panel');
    this.#counters.update(screen.service.counters);
    this.#ledger.update(screen.service.ledger);
    setText(this.#ledgerTotal, String(screen.service.ledger.reduce((sum, entry) => sum + entry.count, 0)));
    this.#updateChart(screen.service);
    this.#rush.update(screen);
  }

  #updateChart({ latencies }: ServiceFacts): void {
    const last = latencies.at(-1);
    setText(this.#latency, last === undefined ? 'no ping yet' : durationText(last));
    const ceiling = niceCeiling(latencies, CHART.floorMs);
    const points = sparklinePoints(latencies, CHART.samples, CHART.width, CHART.height, ceiling);
    setAttribute(this.#line, 'points', points);
    const first = points.slice(0, points.indexOf(','));
    setAttribute(this.#area, 'points', latencies.length > 1 ? `${first},${CHART.height} ${points} ${CHART.width},${CHART.height}` : '');
    setText(this.#ceiling, durationText(ceiling));
  }
}

type CounterFacts = ServiceFacts['counters'][number];

class CounterView implements View<CounterFacts> {
  readonly #value = h('dd', {});
  readonly element: HTMLElement;

  constructor(name: string) {
    this.element = h('div', { class: 'counter', 'data-counter': name }, h('dt', {}, name), this.#value);
  }

  update({ value }: CounterFacts): void {
    setText(this.#value, String(value));
    setAttribute(this.element, 'data-zero', value === 0);
  }
}

type LedgerFacts = ServiceFacts['ledger'][number];

class LedgerView implements View<LedgerFacts> {
  readonly #count = h('dd', {});
  readonly element: HTMLElement;

  constructor(kind: string) {
    this.element = h('div', { class: 'ledger-kind', 'data-kind': kind }, h('dt', {}, kind.replaceAll('_', ' ')), this.#count);
  }

  update({ count }: LedgerFacts): void {
    setText(this.#count, String(count));
    setAttribute(this.element, 'data-zero', count === 0);
  }
}

/** The rush: how many orders a second, for how long, and whether anybody cooks. */
class RushView {
  readonly #button = h('button', { type: 'button', class: 'button', 'data-action': 'rush', 'data-testid': 'trouble-rush', 'aria-describedby': 'trouble-rush' });
  readonly #sentence = h('p', { class: 'trouble-sentence', id: 'trouble-rush' });
  readonly element = h(
    'li',
    { class: 'trouble trouble-rush' },
    this.#button,
    this.#sentence,
    h('div', { class: 'rush-plan' },
      h('span', {}, select('rush-rate', 'Orders per second', [['1', '1 / s'], ['2', '2 / s'], ['5', '5 / s'], ['10', '10 / s'], ['20', '20 / s']], '5')),
      h('span', {}, 'for ', select('rush-seconds', 'For how long', [['10', '10 s'], ['20', '20 s'], ['60', '1 min'], ['300', '5 min']], '20')),
      h('label', { class: 'check' }, h('input', { type: 'checkbox', id: 'rush-cooks', checked: true }), 'cooks'),
    ),
  );

  update({ rush }: Screen): void {
    setText(this.#button, rush ? 'Stop the rush' : 'Start a rush');
    setText(this.#sentence, rush
      ? `${rush.placed} orders placed, ${rush.confirmed} confirmed by the relay, ${rush.secondsLeft} s to go.`
      : 'Random orders from this page; cooks work them off.');
  }
}

function select(id: string, label: string, options: readonly (readonly [string, string])[], selected: string): HTMLSelectElement {
  return h('select', { id, 'aria-label': label }, ...options.map(([value, words]) => h('option', { value, selected: value === selected }, words)));
}
