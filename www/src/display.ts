import { resources, type Order, type OrderUpdate, type Tautline } from 'tautline';
import { Announcer } from './announcer';
import { Frame, Scope } from './dom/scope';
import { Kitchen } from './kitchen';
import { allDay } from './model/all-day';
import { boardOf, bumpedOf, columnOf, stationsOf, type Board, type ColumnId } from './model/board';
import type { RelayClock } from './model/clock';
import type { Notice, Screen, ServiceFacts } from './model/screen';
import { activeColumn, moveSelection, nthOrderId, settleSelection, type Move, type Selection } from './model/selection';
import { Samples } from './model/sparkline';
import { arrivalWords } from './model/words';
import { Rush, type RushPlan } from './rush';
import { isQuiet, type DevRelay, type Identity } from './session';
import { SettingsStore } from './settings';
import { Chime } from './sound';
import { keepAwake } from './wake-lock';
import { VoicePanel } from './voice-panel';
import { PageView } from './view/page';
import type { Place } from './view/bar';

/** How long a new ticket is pointed out, a sentence stays, and a lost connection goes without a banner. */
const ARRIVED_MS = 8_000;
const NOTICE_MS = 12_000;
const BANNER_AFTER_MS = 900;

const COUNTERS = [
  ['Resumes', 'resumes'],
  ['Gaps', 'gaps'],
  ['Duplicates', 'duplicates'],
] as const;

/**
 * The kitchen display. It keeps what only this screen knows (selection, settings, what it has just said) and
 * draws it, at most once a frame, together with what the client knows. Nothing here decides about orders.
 */
export class Display {
  readonly #scope = new Scope();
  readonly #frame = new Frame(() => this.#draw());
  readonly #settings = new SettingsStore('tautline.demo.settings', this.#frame.request);
  readonly #chime = new Chime();
  readonly #announcer = new Announcer(() => this.#composeAnnouncement());
  readonly #view: PageView;
  readonly #latencies = new Samples(60);
  readonly #kitchen: Kitchen;
  readonly #rush: Rush;
  readonly #arrivedUntil = new Map<string, number>();
  #unspoken: Order[] = [];
  #liveAgain = false;
  #notices: (Notice & { readonly until: number })[] = [];
  #noticeCount = 0;
  #selection: Selection | null = null;
  #board: Board = boardOf([], null);
  #place: Place = 'tickets';
  #voice: VoicePanel | null = null;
  #notLiveSince: number | null = null;
  #error: unknown = null;
  #loaded = false;
  readonly #kindsSeen = new Set(['socket', 'socket_closing', 'timer', 'listener']);

  constructor(
    private readonly tautline: Tautline,
    private readonly relay: DevRelay,
    private readonly clock: RelayClock,
    identity: Identity,
  ) {
    const { service, orders } = tautline;
    const refused = (words: string) => this.#notify('refusal', words);
    this.#kitchen = new Kitchen(orders, { changed: this.#frame.request, refused });
    this.#rush = new Rush(orders, refused, this.#frame.request);
    this.#view = new PageView(identity.restaurantId, this.#announcer.element);
    this.#scope.add(() => this.#announcer.dispose());
    this.#scope.add(() => this.#rush.stop());
    this.#scope.add(() => this.#frame.cancel());
    this.#scope.add(() => this.closeVoice());
    this.#scope.add(() => void this.#chime.disarm());
    this.#scope.add(orders.onOrders(this.#frame.request));
    this.#scope.add(orders.onOrderUpdate((update) => this.#onUpdate(update)));
    this.#scope.add(resources.onChange(this.#frame.request));
    for (const event of ['stateChange', 'stale', 'fresh', 'reconnecting', 'resumed', 'gap', 'connected'] as const) {
      this.#scope.add(service.on(event, this.#frame.request));
    }
    this.#scope.add(service.onOutbox(this.#frame.request));
    this.#scope.add(
      service.on('latency', ({ rttMs }) => {
        this.#latencies.push(rttMs);
        this.#frame.request();
      }),
    );
    this.#scope.add(
      service.on('error', (error) => {
        this.#error = error;
        this.#frame.request();
      }),
    );
    this.#scope.add(keepAwake());
    // One clock for ages, countdowns and everything that ends after a while.
    this.#scope.interval(this.#frame.request, 1_000);
  }

  /**
   * Shows the page and connects. A display wants its connection for as long as it lives, refused or not, so it
   * holds no lease that a refusal would end: the service goes on asking for a token it may use.
   */
  open(): void {
    document.body.append(...this.#view.elements);
    this.#frame.request();
    this.#scope.add(() => this.tautline.service.disconnect());
    this.tautline.orders.initialize();
    this.connect();
  }

  /** Ends the page's part: no listener or timer is left, and no connection. */
  dispose(): void {
    this.#scope.dispose();
  }

  get scope(): Scope {
    return this.#scope;
  }

  get settings(): SettingsStore {
    return this.#settings;
  }

  // What a person asks for, by touch or by key.

  bump(orderId: string): void {
    this.#kitchen.bump(orderId);
  }

  bumpNth(index: number): void {
    const id = nthOrderId(this.#board, this.#selection, index);
    if (id) this.#kitchen.bump(id);
  }

  /** Answers whether there was a ticket to bump. */
  bumpSelected(): boolean {
    const id = this.#selection?.orderId;
    if (!id) return false;
    this.#kitchen.bump(id);
    return true;
  }

  recall(orderId: string): void {
    this.#kitchen.recall(orderId);
  }

  recallLast(): void {
    if (!this.#kitchen.recallLast()) this.#notify('news', 'Nothing bumped on this screen is left to recall.');
  }

  tick(orderId: string, itemId: string): void {
    this.#kitchen.tick(orderId, itemId);
  }

  tickNth(index: number): void {
    const order = this.#selection?.orderId ? this.#kitchen.find(this.#selection.orderId) : undefined;
    const item = order?.items[index];
    if (order && item) this.#kitchen.tick(order.id, item.id);
  }

  move(move: Move): void {
    this.#selection = moveSelection(this.#board, this.#selection, move);
    this.#view.focusTicket(this.#selection);
    this.#frame.request();
  }

  /** The selection follows the focus, however it came there. */
  select(orderId: string): void {
    const status = this.#kitchen.find(orderId)?.status;
    const column = status && columnOf(status)?.id;
    if (!column || this.#selection?.orderId === orderId) return;
    this.#selection = { column, orderId };
    this.#frame.request();
  }

  clearSelection(): void {
    this.#selection = null;
    this.#view.blurTicket();
    this.#frame.request();
  }

  showColumn(column: ColumnId, scroll: boolean): void {
    if (!scroll && this.#selection?.column === column) return;
    if (this.#selection?.column !== column) this.#selection = { column, orderId: null };
    if (scroll) this.#view.scrollToColumn(column);
    this.#frame.request();
  }

  showPlace(place: Place): void {
    if (place === 'voice') this.openVoice();
    this.#place = place;
    this.#frame.request();
  }

  openVoice(): void {
    if (!this.#voice) {
      this.#voice = new VoicePanel({ getToken: () => this.relay.token(), close: () => this.closeVoice() });
      this.#view.setVoice(this.#voice.element);
    }
    this.#place = 'voice';
    this.#view.update(this.#screen(this.tautline.orders.orders(), Date.now()), this.#place, false);
    this.#voice.focus();
  }

  closeVoice(): void {
    if (!this.#voice) return;
    this.#voice.dispose();
    this.#voice = null;
    this.#view.setVoice(null);
    if (this.#place === 'voice') this.#place = 'tickets';
    this.#frame.request();
  }

  /** Where one thing is shown at a time, an open panel that is out of sight is shown rather than closed. */
  toggleVoice(): void {
    if (this.#voice && (this.#place === 'voice' || !this.#view.onePlace)) this.closeVoice();
    else this.openVoice();
  }

  filterStation(station: string | null): void {
    this.#settings.change({ station });
  }

  placeOrder(): void {
    void this.#kitchen.placeRandomOrder();
  }

  async makeTrouble(kind: string, ms?: number): Promise<void> {
    try {
      await this.relay.trouble(kind, ms);
    } catch (error) {
      this.#notify('refusal', error instanceof Error ? error.message : String(error));
    }
  }

  toggleRush(plan: RushPlan): void {
    if (this.#rush.facts(Date.now())) this.#rush.stop();
    else this.#rush.start(plan);
  }

  toggleTheme(): void {
    this.#settings.change({ theme: this.#view.dark(this.#settings.current.theme) ? 'light' : 'dark' });
  }

  toggleService(): void {
    this.#settings.change({ service: !this.#view.serviceUnfolded(this.#settings.current.service) });
  }

  /** Only ever called from a touch or a key press, as browsers want it. */
  async setSound(on: boolean): Promise<void> {
    this.#settings.change({ sound: on });
    if (on) await this.armSound();
    else await this.#chime.disarm();
    this.#frame.request();
    if (on) this.#chime.ring();
  }

  /** Wakes the sound a stored setting asks for, at the first touch or key. */
  async armSound(): Promise<void> {
    if (!this.#settings.current.sound || this.#chime.armed) return;
    await this.#chime.arm();
    this.#frame.request();
  }

  get soundOn(): boolean {
    return this.#settings.current.sound && this.#chime.armed;
  }

  connect(): void {
    this.#error = null;
    this.tautline.service.connect().catch((error: unknown) => {
      if (isQuiet(error)) return;
      this.#error = error;
      this.#frame.request();
    });
    this.#frame.request();
  }

  tryNow(): void {
    this.tautline.service.reconnectNow();
  }

  dismissNotice(id: number): void {
    this.#notices = this.#notices.filter((notice) => notice.id !== id);
    this.#frame.request();
  }

  showHelp(): void {
    this.#view.showHelp();
  }

  showSettings(): void {
    this.#view.showSettings(this.#settings.current);
  }

  // What the connection brings.

  #onUpdate(update: OrderUpdate): void {
    const { order } = update;
    if (update.action === 'created' && order && !update.initial && columnOf(order.status)) {
      this.#arrivedUntil.set(order.id, Date.now() + ARRIVED_MS);
      this.#unspoken.push(order);
      this.#announcer.request();
      if (this.#unspoken.length === 1) this.#chime.ring();
    }
    if (update.action === 'status_changed' && update.status === 'cancelled') {
      const known = order ?? this.#kitchen.find(update.orderId);
      if (known) this.#notify('refusal', `Order ${known.order_number} was cancelled. Stop making it.`);
    }
    this.#frame.request();
  }

  #composeAnnouncement(): string {
    const arrived = arrivalWords(this.#unspoken.splice(0));
    const live = this.#liveAgain ? 'Live again' : '';
    this.#liveAgain = false;
    return [live, arrived].filter((words) => words !== '').join('. ');
  }

  #notify(tone: Notice['tone'], text: string): void {
    this.#noticeCount += 1;
    const latest = this.#notices.filter((notice) => notice.text !== text).slice(-3);
    this.#notices = [...latest, { id: this.#noticeCount, tone, text, until: Date.now() + NOTICE_MS }];
    this.#frame.request();
  }

  // One render.

  #draw(): void {
    const nowMs = Date.now();
    const before = this.#board;
    const orders = this.tautline.orders.orders();
    const settings = this.#settings.current;
    this.#board = boardOf(orders, settings.station);
    const settled = settleSelection(before, this.#board, this.#selection);
    // A ticket that left while it had the focus hands that on too; any other focus stays where it is.
    const followed = settled !== this.#selection && this.#view.ticketHasFocus(this.#selection);
    const focused = followed ? null : document.activeElement;
    this.#selection = settled;
    this.#expire(nowMs);
    const screen = this.#screen(orders, nowMs);
    this.#view.update(screen, this.#place, this.#bannerDue(screen, nowMs));
    if (followed) this.#view.focusTicket(settled);
    else this.#view.keepFocus(focused);
  }

  #expire(nowMs: number): void {
    for (const [id, until] of this.#arrivedUntil) if (until <= nowMs) this.#arrivedUntil.delete(id);
    if (this.#notices.some((notice) => notice.until <= nowMs)) this.#notices = this.#notices.filter((notice) => notice.until > nowMs);
  }

  /** Kinds that were ever held here; a page without a call has no need to read that it holds no microphone. */
  #ledger(counts: Readonly<Record<string, number>>): ServiceFacts['ledger'] {
    for (const [kind, count] of Object.entries(counts)) if (count > 0) this.#kindsSeen.add(kind);
    return [...this.#kindsSeen].map((kind) => ({ kind, count: counts[kind] ?? 0 }));
  }

  /** A blink of a reconnect moves nothing on the screen; anything longer is said. */
  #bannerDue({ connection, loaded }: Screen, nowMs: number): boolean {
    const live = connection.state === 'connected' && !connection.stale;
    if (live) {
      if (this.#notLiveSince !== null && nowMs - this.#notLiveSince >= BANNER_AFTER_MS && loaded) {
        this.#liveAgain = true;
        this.#announcer.request();
      }
      this.#notLiveSince = null;
      this.#error = null;
      return false;
    }
    this.#notLiveSince ??= nowMs;
    return connection.state === 'error' || connection.stale || nowMs - this.#notLiveSince >= BANNER_AFTER_MS;
  }

  #screen(orders: readonly Order[], nowMs: number): Screen {
    const { service } = this.tautline;
    const settings = this.#settings.current;
    const stats = service.stats();
    const freshness = service.freshness();
    const state = service.getConnectionState();
    if (state === 'connected') this.#loaded = true;
    return {
      now: this.clock.now(nowMs),
      settings,
      loaded: this.#loaded,
      board: this.#board,
      bumped: bumpedOf(orders, 12),
      stations: stationsOf(orders, settings.station),
      dishes: allDay(orders, settings.station),
      selection: this.#selection,
      active: activeColumn(this.#board, this.#selection),
      pending: this.#kitchen.pending(),
      arrived: new Set(this.#arrivedUntil.keys()),
      connection: {
        state,
        stale: stats.stale,
        offline: stats.offline,
        confirmedAtMs: freshness.confirmedAtMs,
        nextAttemptInMs: stats.nextAttemptInMs,
        rttMs: stats.rttMs,
        error: this.#error,
        tokenFailure: this.relay.tokenFailure,
      },
      service: {
        latencies: this.#latencies.values(),
        counters: [
          { name: 'Reconnects', value: Math.max(0, stats.connects - 1) },
          ...COUNTERS.map(([name, key]) => ({ name, value: stats[key] })),
          { name: 'Outbox', value: stats.outbox.length },
          { name: 'Last seq', value: stats.lastSeq ?? 0 },
        ],
        ledger: this.#ledger(resources.counts()),
      },
      rush: this.#rush.facts(nowMs),
      notices: this.#notices,
      soundArmed: this.#chime.armed,
    };
  }
}
