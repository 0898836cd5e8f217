import { h, setAttribute, setText } from '../dom/h';
import { KeyedList, type View } from '../dom/keyed';
import { COLUMNS } from '../model/board';
import { clockText } from '../model/clock';
import type { Screen } from '../model/screen';
import { durationText } from '../model/sparkline';
import { connectionWords } from '../model/words';
import { icon, setIcon } from './icons';

/** The top of the page: whose kitchen, what time, which station, and how the connection is. */
export class BarView {
  readonly #clock = h('time', { class: 'clock' });
  readonly #stationList = h('div', { class: 'stations', role: 'group', 'aria-label': 'Station' });
  readonly #stations = new KeyedList<StationFacts, StationView>(this.#stationList, (facts) => facts.station ?? '', (facts) => new StationView(facts.station));
  readonly #connectionWords = h('span', { class: 'connection-words' });
  readonly #connectionDetail = h('span', { class: 'connection-detail' });
  readonly #connection = h(
    'div',
    { class: 'connection', 'data-testid': 'connection' },
    h('span', { class: 'connection-dot', 'aria-hidden': 'true' }),
    this.#connectionWords,
    this.#connectionDetail,
  );
  readonly #soundIcon = icon('mute');
  readonly #soundWords = h('span', { class: 'tool-words' });
  readonly #sound = h('button', { type: 'button', class: 'tool', 'data-action': 'sound' }, this.#soundIcon, this.#soundWords);
  readonly #voice = h('button', { type: 'button', class: 'tool tool-voice', 'data-action': 'voice', 'data-testid': 'voice-open', 'aria-controls': 'voice', title: 'Take an order by voice' }, icon('microphone'), h('span', { class: 'tool-words' }, 'Voice'));
  readonly #themeIcon = icon('moon');
  readonly #theme = h('button', { type: 'button', class: 'tool', 'data-action': 'theme' }, this.#themeIcon);
  readonly element: HTMLElement;

  constructor(restaurantId: string) {
    this.element = h(
      'header',
      { class: 'bar' },
      h('div', { class: 'brand' }, h('h1', {}, 'Kitchen'), h('span', { class: 'brand-restaurant' }, restaurantId)),
      this.#clock,
      this.#stationList,
      this.#connection,
      h(
        'div',
        { class: 'tools' },
        h('button', { type: 'button', class: 'tool tool-order', 'data-action': 'place-order', 'data-testid': 'place-order', 'aria-label': 'Place a random order', title: 'Place a random order (N)' }, icon('plus'), h('span', { class: 'tool-words' }, 'Order')),
        this.#voice,
        this.#sound,
        this.#theme,
        h('button', { type: 'button', class: 'tool', 'data-action': 'settings', 'aria-label': 'Settings', title: 'Settings' }, icon('settings')),
        h('button', { type: 'button', class: 'tool', 'data-action': 'help', 'aria-label': 'Keys and help', title: 'Keys and help (?)' }, icon('help')),
      ),
    );
  }

  update(screen: Screen, dark: boolean, voiceOpen: boolean): void {
    setAttribute(this.#voice, 'aria-expanded', String(voiceOpen));
    setText(this.#clock, clockText(screen.now));
    const { station } = screen.settings;
    this.#stations.update(screen.stations.length === 0 ? [] : [null, ...screen.stations].map((name) => ({ station: name, pressed: name === station })));
    const { connection } = screen;
    setAttribute(this.#connection, 'data-state', connection.state);
    setAttribute(this.#connection, 'data-stale', connection.stale);
    setText(this.#connectionWords, connectionWords(connection));
    const rtt = connection.state === 'connected' && !connection.stale ? connection.rttMs : null;
    setText(this.#connectionDetail, rtt === null ? '' : durationText(rtt));
    const sound = !screen.settings.sound ? 'off' : screen.soundArmed ? 'on' : 'waiting';
    setIcon(this.#soundIcon, sound === 'on' ? 'sound' : 'mute');
    setText(this.#soundWords, sound === 'waiting' ? 'Touch for sound' : '');
    setAttribute(this.#sound, 'data-sound', sound);
    setAttribute(this.#sound, 'aria-pressed', String(sound === 'on'));
    setAttribute(this.#sound, 'aria-label', 'Sound for new orders');
    setAttribute(this.#sound, 'title', sound === 'on' ? 'Sound for new orders is on' : 'Sound for new orders is off');
    setIcon(this.#themeIcon, dark ? 'sun' : 'moon');
    setAttribute(this.#theme, 'aria-label', dark ? 'Light colours' : 'Dark colours');
    setAttribute(this.#theme, 'title', dark ? 'Light colours' : 'Dark colours');
  }

  focusVoice(): void {
    this.#voice.focus({ preventScroll: true });
  }
}

interface StationFacts {
  readonly station: string | null;
  readonly pressed: boolean;
}

class StationView implements View<StationFacts> {
  readonly element: HTMLElement;

  constructor(station: string | null) {
    this.element = h('button', { type: 'button', class: 'station', 'data-action': 'station', 'data-station': station }, station ?? 'All stations');
  }

  update({ pressed }: StationFacts): void {
    setAttribute(this.element, 'aria-pressed', String(pressed));
  }
}

/** On a phone the columns stand side by side off screen; these jump to one. */
export class ColumnTabsView {
  readonly #tabs = COLUMNS.map((column) => {
    const count = h('span', { class: 'tab-count' });
    const element = h('button', { type: 'button', class: 'tab', 'data-action': 'column', 'data-column': column.id }, h('span', {}, column.title), count);
    return { column, element, count };
  });
  readonly element = h('nav', { class: 'column-tabs', 'aria-label': 'Columns' }, ...this.#tabs.map((tab) => tab.element));

  update(screen: Screen): void {
    for (const { column, element, count } of this.#tabs) {
      setText(count, String(screen.board[column.id].length));
      setAttribute(element, 'aria-current', column.id === screen.active ? 'true' : null);
    }
  }
}

/** On a phone one thing is shown at a time. */
export const PLACES = ['tickets', 'all-day', 'voice', 'service'] as const;
export type Place = (typeof PLACES)[number];
const PLACE_WORDS: Readonly<Record<Place, string>> = { tickets: 'Tickets', 'all-day': 'All day', voice: 'Voice', service: 'Service' };

export class PlacesView {
  readonly #places = PLACES.map((place) => ({
    place,
    element: h('button', { type: 'button', class: 'place', 'data-action': 'place', 'data-place': place }, PLACE_WORDS[place]),
  }));
  readonly element = h('nav', { class: 'places', 'aria-label': 'Parts of the display' }, ...this.#places.map(({ element }) => element));

  update(current: Place): void {
    for (const { place, element } of this.#places) setAttribute(element, 'aria-current', place === current ? 'true' : null);
  }
}
