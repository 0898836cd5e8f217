/**
 * `<tautline-inspector>`: what a connection is doing, in a corner of the page while it is being built, or behind a key on
 * a screen that misbehaves. It only looks; what it shows of messages stays in the page.
 *
 * ```ts
 * import { defineInspector } from 'tautline/inspector';
 *
 * defineInspector();
 * const inspector = document.createElement('tautline-inspector');
 * inspector.client = client; // what createTautline() gave
 * document.body.append(inspector);
 * ```
 */
import { enter, leave, ledger, watch } from './twin.js';
import type { Entry, Freshness, Message, Stats } from './types.js';

/** What goes into the timeline; the state is shown besides. */
const EVENTS = ['stateChange', 'connected', 'disconnected', 'reconnecting', 'maxReconnectAttemptsReached', 'resumed', 'gap', 'stale', 'fresh', 'degraded', 'role', 'error'] as const;

/** What it looks at: a client of `tautline` or of `tautline/core`, or anything with such a service. */
export interface Inspected {
  /** The connection that is looked at. */
  readonly service: {
    on(event: (typeof EVENTS)[number], listener: (value: unknown) => unknown): () => void;
    subscribe(pattern: string, callback: (payload: unknown, message: Message) => unknown): () => void;
    onOutbox(callback: (entries: readonly Entry[]) => unknown): () => void;
    outbox(): readonly Entry[];
    getConnectionState(): string;
    stats(): Stats;
    freshness(): Freshness;
    recording(): { export(): string };
    reconnectNow(): void;
  };
}

const TABS = ['timeline', 'messages', 'outbox', 'ledger'] as const;
type Tab = (typeof TABS)[number];
/** How many lines are kept of what happened, and of what came. */
const KEPT = 200;
/** How often ages are told anew, ms. */
const EVERY_MS = 1_000;

interface Line {
  readonly at: Date;
  readonly what: string;
  readonly detail: string;
  readonly payload?: unknown;
}

const STYLE = `
  :host { display: block; font: 12px/1.5 ui-monospace, monospace; color: #1c1e21; background: #fff; border: 1px solid #c8ccd2; border-radius: 6px; max-width: 60rem; overflow: hidden; }
  :host([hidden]) { display: none; }
  header, nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; padding: .4rem .6rem; border-bottom: 1px solid #e3e6ea; }
  [data-state]::before { content: '●'; margin-right: .4em; color: #8a9099; }
  [data-state=connected]::before { color: #1a7f37; }
  [data-state=connecting]::before, [data-state=reconnecting]::before { color: #9a6700; }
  [data-state=error]::before { color: #c0262d; }
  button { font: inherit; color: inherit; background: #f4f5f7; border: 1px solid #c8ccd2; border-radius: 4px; padding: .1rem .6rem; cursor: pointer; }
  button:hover { background: #e7eaee; }
  button[aria-selected=true] { background: #1c1e21; border-color: #1c1e21; color: #fff; }
  nav > :last-child { margin-left: auto; }
  main { max-height: 18rem; overflow: auto; padding: .2rem .6rem; }
  table { border-collapse: collapse; width: 100%; }
  td, th { text-align: left; vertical-align: top; padding: .1rem .8rem .1rem 0; white-space: nowrap; }
  td:last-child { white-space: pre-wrap; overflow-wrap: anywhere; width: 99%; }
  time, .dim { color: #646b74; }
  @media (prefers-color-scheme: dark) {
    :host { color: #e6e8eb; background: #16181b; border-color: #3a3f45; }
    header, nav { border-color: #2b2f34; }
    button { background: #24282d; border-color: #3a3f45; }
    button:hover { background: #30353b; }
    button[aria-selected=true] { background: #e6e8eb; border-color: #e6e8eb; color: #16181b; }
    time, .dim { color: #9aa2ab; }
  }
`;

/** On a server there is no element to be. */
const Base = (globalThis.HTMLElement ?? class {}) as typeof HTMLElement;

/** The element's class; {@link defineInspector} gives it its name. */
export class TautlineInspector extends Base {
  readonly #timeline: Line[] = [];
  readonly #messages: Line[] = [];
  #client: Inspected | undefined;
  #offs: (() => void)[] = [];
  #tab: Tab = 'timeline';
  #frame = 0;

  /** What it looks at. */
  get client(): Inspected | undefined {
    return this.#client;
  }

  set client(client: Inspected | undefined) {
    this.#end();
    this.#client = client;
    this.#timeline.length = this.#messages.length = 0;
    if (this.isConnected) this.#begin();
  }

  /** @internal */
  connectedCallback(): void {
    if (!this.shadowRoot) this.#build(this.attachShadow({ mode: 'open' }));
    this.#begin();
  }

  /** @internal */
  disconnectedCallback(): void {
    this.#end();
  }

  /** Everything the service went through, as a file. */
  exportRecording(): void {
    const text = this.#client?.service.recording().export();
    if (text === undefined) return;
    const link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], { type: 'application/json' }));
    link.download = `tautline-${new Date().toISOString().replace(/[:.]/g, '-')}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  #begin(): void {
    const { service } = this.#client ?? {};
    if (!service || this.#offs.length > 0) return this.#changed();
    const told = (event: string) => (value: unknown) => this.#keep(this.#timeline, event, event === 'stateChange' ? String(value) : brief(value));
    const every = setInterval(() => this.#changed(), EVERY_MS);
    const entry = enter('timer', 'inspector', () => clearInterval(every));
    this.#offs = [
      ...EVENTS.map((event) => service.on(event, told(event))),
      service.subscribe('*', (payload, { type, seq }) => this.#keep(this.#messages, type, seq === undefined ? '' : `#${seq}`, payload)),
      service.onOutbox(() => this.#changed()),
      watch(() => this.#changed()),
      () => {
        clearInterval(every);
        leave(entry);
      },
    ];
    this.#changed();
  }

  #end(): void {
    for (const off of this.#offs.splice(0)) off();
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
  }

  #keep(list: Line[], what: string, detail: string, payload?: unknown): void {
    list.push({ at: new Date(), what, detail, payload });
    if (list.length > KEPT) list.shift();
    this.#changed();
  }

  /** Drawn once a frame, however much happens in it. */
  #changed(): void {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #build(root: ShadowRoot): void {
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    root.adoptedStyleSheets = [style];
    const tabs = TABS.map((tab) => button(tab, () => this.#show(tab), { role: 'tab' }));
    const nav = make('nav', { role: 'tablist' }, ...tabs, button('export recording', () => this.exportRecording()));
    const head = make('header', {}, make('b', { id: 'state', role: 'status' }), make('span', { id: 'facts', class: 'dim' }), button('reconnect now', () => this.#client?.service.reconnectNow()));
    root.append(head, nav, make('main', { role: 'tabpanel' }));
  }

  #show(tab: Tab): void {
    this.#tab = tab;
    this.#changed();
  }

  #draw(): void {
    const root = this.shadowRoot;
    const main = root?.querySelector('main');
    const state = root?.getElementById('state');
    const facts = root?.getElementById('facts');
    if (!root || !main || !state || !facts) return;
    const service = this.#client?.service;
    const now = service?.getConnectionState() ?? 'no client';
    state.dataset.state = state.textContent = now;
    facts.textContent = service ? told(service.stats(), service.freshness()) : 'set its client property';
    const rows = { timeline: () => lines(this.#timeline), messages: () => lines(this.#messages), outbox: () => outbox(service?.outbox() ?? []), ledger: held }[this.#tab]();
    for (const [n, tab] of [...root.querySelectorAll('[role=tab]')].entries()) tab.setAttribute('aria-selected', String(TABS[n] === this.#tab));
    // Whoever reads at the end goes on reading at the end.
    const atEnd = main.scrollTop + main.clientHeight >= main.scrollHeight - 4;
    main.replaceChildren(rows.length ? make('table', {}, ...rows) : make('p', { class: 'dim' }, 'nothing yet'));
    if (atEnd) main.scrollTop = main.scrollHeight;
  }
}

/** Makes the element known under its name; a second time does nothing. */
export function defineInspector(name = 'tautline-inspector'): void {
  if (!customElements.get(name)) customElements.define(name, name === 'tautline-inspector' ? TautlineInspector : class extends TautlineInspector {});
}

declare global {
  interface HTMLElementTagNameMap {
    'tautline-inspector': TautlineInspector;
  }
}

function make(tag: string, attributes: Record<string, string>, ...children: (Node | string)[]): HTMLElement {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function button(text: string, act: () => void, attributes: Record<string, string> = {}): HTMLElement {
  const element = make('button', { type: 'button', ...attributes }, text);
  element.addEventListener('click', act);
  return element;
}

function row(...cells: (Node | string)[]): HTMLElement {
  return make('tr', {}, ...cells.map((cell) => make('td', {}, cell)));
}

function lines(list: readonly Line[]): HTMLElement[] {
  return list.map(({ at, what, detail, payload }) => row(make('time', {}, clock(at)), what, payload === undefined ? detail : `${detail} ${brief(payload)}`));
}

function outbox(entries: readonly Entry[]): HTMLElement[] {
  return entries.map(({ id, type, status, ageMs }) => row(type, status, age(ageMs), id));
}

/** What the package holds of the browser, by kind and owner. */
function held(): HTMLElement[] {
  const groups = new Map<string, { count: number; since: number }>();
  for (const { kind, owner, since } of ledger().entries.values()) {
    const key = `${kind}\n${owner}`;
    const group = groups.get(key);
    groups.set(key, { count: (group?.count ?? 0) + 1, since: Math.min(group?.since ?? since, since) });
  }
  return [...groups].map(([key, { count, since }]) => {
    const [kind = '', owner = ''] = key.split('\n');
    return row(kind, `${count}`, age(performance.now() - since), owner);
  });
}

/** The connection in a line. */
function told({ rttMs, attempts, connects, nextAttemptInMs }: Stats, { seq, ageMs, live }: Freshness): string {
  return [
    seq === null ? undefined : `#${seq}, ${live ? 'confirmed' : 'last confirmed'} ${ageMs === null ? 'never' : `${age(ageMs)} ago`}`,
    rttMs === null ? undefined : `${rttMs} ms`,
    `connected ${connects} of ${attempts}`,
    nextAttemptInMs === null ? undefined : `again in ${age(nextAttemptInMs)}`,
  ].filter((part) => part !== undefined).join(' · ');
}

function clock(at: Date): string {
  return `${at.toTimeString().slice(0, 8)}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}

function age(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : ms < 120_000 ? `${Math.round(ms / 1_000)} s` : `${Math.round(ms / 60_000)} min`;
}

/** A value in a line: an error by its code and words. */
function brief(value: unknown): string {
  if (value === undefined) return '';
  if (value instanceof Error) return `${'code' in value ? `${String(value.code)}: ` : ''}${value.message}`;
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}
