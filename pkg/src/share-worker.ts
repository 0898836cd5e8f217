// Hubs in a SharedWorker, one for each connection that is shared: no tab's end or freeze concerns them.

import { Lock } from './share-held.js';
import { seen } from './share-log.js';
import { type FromHub, Reign, type ToHub } from './share-reign.js';

/** What a page says: that it comes (with what it was sent last by a worker before) and goes, looks whether the worker runs, or what is for a hub. */
export type ToWorker =
  | { readonly is: 'enter'; readonly name: string; readonly page: string; readonly url: string; readonly protocols: readonly string[]; readonly trail: readonly string[] }
  | { readonly is: 'exit'; readonly name: string; readonly page: string }
  | { readonly is: 'look' }
  | { readonly is: 'hub'; readonly name: string; readonly page: string; readonly message: ToHub };
/** What it is told, for one of its seats. */
export type FromWorker =
  /** It runs, and holds this lock as long as it lives. */
  | { readonly is: 'here'; readonly life: string }
  | { readonly is: 'lead'; readonly page: string }
  | { readonly is: 'hub'; readonly page: string; readonly message: FromHub };

interface Page {
  readonly port: MessagePort;
  readonly life: Lock;
}

interface Shared {
  readonly run: Reign;
  /** In the order they came: the first leads. */
  readonly pages: Map<string, Page>;
}

const scope = globalThis as unknown as { onconnect: (event: MessageEvent) => void; close(): void };
const all = new Map<string, Shared>();
const life = `tautline:share:worker:${crypto.randomUUID()}`;
/** Who looks before the lock is held. */
let early: MessagePort[] | undefined = [];

new Lock(life, false, begun, () => {});

function begun(): void {
  const waiting = early ?? [];
  early = undefined;
  waiting.forEach(here);
}

function here(port: MessagePort): void {
  if (early) early.push(port);
  else port.postMessage({ is: 'here', life } satisfies FromWorker);
}

scope.onconnect = ({ ports }) => {
  const [port] = ports;
  if (port) port.onmessage = ({ data }) => heard(port, data as ToWorker);
};

function heard(port: MessagePort, said: ToWorker): void {
  if (said.is === 'look') return here(port);
  if (said.is === 'enter') return entered(port, said);
  if (said.is === 'exit') return gone(said.name, said.page);
  all.get(said.name)?.run.from(said.page, said.message);
}

function entered(port: MessagePort, { name, page, url, protocols, trail }: ToWorker & { is: 'enter' }): void {
  const known = all.get(name);
  const pages = known?.pages ?? new Map<string, Page>();
  const tell = (to: string, message: FromHub) => pages.get(to)?.port.postMessage({ is: 'hub', page: to, message } satisfies FromWorker);
  if (!known) all.set(name, { run: new Reign(url, protocols, seen(trail), undefined, tell), pages });
  // The lock that a page lives by is granted when it is dead.
  pages.set(page, { port, life: new Lock(`${name}:${page}`, false, () => gone(name, page), () => {}) });
  if (pages.size === 1) lead(page, port);
}

function gone(name: string, page: string): void {
  const shared = all.get(name);
  const left = shared?.pages.get(page);
  if (!shared || !left) return;
  const [first] = shared.pages.keys();
  shared.pages.delete(page);
  left.life.end();
  shared.run.gone(page);
  const [next] = shared.pages;
  if (next && first === page) lead(next[0], next[1].port);
  if (next) return;
  shared.run.end();
  all.delete(name);
  // Nobody is left: whoever comes next begins another.
  if (all.size === 0) scope.close();
}

function lead(page: string, port: MessagePort): void {
  port.postMessage({ is: 'lead', page } satisfies FromWorker);
}
