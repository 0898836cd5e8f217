import { h, setAttribute } from '../dom/h';
import type { ColumnId } from '../model/board';
import type { Screen } from '../model/screen';
import type { Selection } from '../model/selection';
import type { Settings } from '../settings';
import { BannerView } from './banner';
import { BarView, ColumnTabsView, PlacesView, type Place } from './bar';
import { BoardView } from './board';
import { helpDialog, SettingsDialog } from './dialogs';
import { NoticesView } from './notices';
import { RailView } from './rail';
import { ServiceView } from './service';

/** More tickets than this in a few seconds, and pointing each out would be noise. */
const RUSH = 6;

/** The page as a whole: its parts, and what only the document knows (focus, theme, size). */
export class PageView {
  readonly #bar: BarView;
  readonly #banner = new BannerView();
  readonly #tabs = new ColumnTabsView();
  readonly #board = new BoardView();
  readonly #rail = new RailView();
  readonly #service = new ServiceView();
  readonly #places = new PlacesView();
  readonly #notices = new NoticesView();
  readonly #help = helpDialog();
  readonly #settings = new SettingsDialog();
  readonly #preferDark = matchMedia('(prefers-color-scheme: dark)');
  readonly #narrow = matchMedia('(max-width: 63.99rem)');
  readonly #tall = matchMedia('(min-height: 56rem) and (min-width: 64rem)');
  readonly #stage = h('main', { class: 'stage' }, this.#board.element, this.#rail.element);
  #voice: HTMLElement | null = null;
  readonly elements: readonly HTMLElement[];

  constructor(restaurantId: string, announcer: HTMLElement) {
    this.#bar = new BarView(restaurantId);
    this.elements = [
      h('a', { class: 'skip', href: '#board' }, 'To the tickets'),
      this.#bar.element,
      this.#banner.element,
      this.#tabs.element,
      this.#stage,
      this.#service.element,
      this.#places.element,
      this.#notices.element,
      announcer,
      this.#help,
      this.#settings.element,
    ];
  }

  update(screen: Screen, place: Place, bannerDue: boolean): void {
    const root = document.documentElement;
    const { settings, connection } = screen;
    setAttribute(root, 'data-theme', settings.theme);
    setAttribute(root, 'data-type', settings.type);
    setAttribute(root, 'data-flash', settings.flash);
    setAttribute(root, 'data-rush', screen.arrived.size > RUSH);
    setAttribute(root, 'data-place', place);
    setAttribute(root, 'data-live', connection.state === 'connected' && !connection.stale);
    this.#bar.update(screen, this.dark(settings.theme), this.#voice !== null);
    this.#banner.update(screen, bannerDue);
    this.#tabs.update(screen);
    this.#board.update(screen);
    this.#rail.update(screen);
    this.#service.update(screen, this.serviceUnfolded(settings.service));
    this.#places.update(place);
    this.#notices.update(screen.notices);
  }

  /** The voice panel stands beside the board, in the place of the rail; `null` takes it away. */
  setVoice(element: HTMLElement | null): void {
    const focused = this.#voice?.contains(document.activeElement);
    this.#voice?.remove();
    this.#voice = element;
    if (element) this.#stage.append(element);
    setAttribute(this.#stage, 'data-voice', element !== null);
    if (focused) this.#bar.focusVoice();
  }

  /** Whether the page is too narrow to show its parts side by side. */
  get onePlace(): boolean {
    return this.#narrow.matches;
  }

  dark(theme: Settings['theme']): boolean {
    return theme === 'auto' ? this.#preferDark.matches : theme === 'dark';
  }

  serviceUnfolded(setting: Settings['service']): boolean {
    return setting ?? this.#tall.matches;
  }

  /** Moves the focus to the selected ticket, or to the board when the column is empty. */
  focusTicket(selection: Selection | null): void {
    const ticket = selection?.orderId ? this.#board.ticket(selection.orderId) : null;
    (ticket ?? this.#board.element).focus({ preventScroll: true });
    ticket?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  ticketHasFocus(selection: Selection | null): boolean {
    return !!selection?.orderId && !!this.#board.ticket(selection.orderId)?.contains(document.activeElement);
  }

  /** Moving an element costs it the focus; this gives it back. */
  keepFocus(focused: Element | null): void {
    if (focused instanceof HTMLElement && focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }

  blurTicket(): void {
    const focused = document.activeElement;
    if (focused instanceof HTMLElement && this.#board.element.contains(focused)) this.#board.element.focus({ preventScroll: true });
  }

  scrollToColumn(column: ColumnId): void {
    this.#board.column(column)?.scrollIntoView({ block: 'nearest', inline: 'start' });
  }

  showHelp(): void {
    if (!this.#help.open) this.#help.showModal();
  }

  showSettings(settings: Settings): void {
    this.#settings.show(settings);
  }
}
