// A hub at work: its socket, its clock, and the pages that its tabs are on.

import { Alarm } from './share-held.js';
import { Hub } from './share-hub.js';
import type { Stretch } from './share-log.js';
import { type Act, HANDED_OVER } from './share-tab.js';
import { enter, leave } from './twin.js';

/** What a page says for one of its tabs' connections; `port` begins with the page's name. */
export type ToHub =
  | { readonly is: 'attach'; readonly port: string; readonly text: string }
  | { readonly is: 'say'; readonly port: string; readonly text: string }
  | { readonly is: 'leave'; readonly port: string; readonly code: number }
  /** So many messages have been taken. */
  | { readonly is: 'took'; readonly count: number };

/** What a page is told. */
export type FromHub =
  | { readonly is: 'text'; readonly ports: readonly string[]; readonly text: string }
  | { readonly is: 'end'; readonly port: string; readonly code: number; readonly reason: string }
  | { readonly is: 'alone' };

/** A page that takes no more than this of what it is sent is a slow consumer, messages and characters. */
const UNTAKEN_MESSAGES = 1_000;
const UNTAKEN_CHARS = 8_388_608;
const SLOW_CONSUMER = 4008;
const ABNORMAL = 1006;

/** The connection to the relay: its place on the ledger, and whether it is still listened to. */
interface Upstream {
  readonly socket: WebSocket;
  entry: number;
  heard: boolean;
}

/** The page that a port is on. */
export const pageOf = (port: string) => port.slice(0, port.lastIndexOf('/'));

/** See the module. */
export class Reign {
  readonly #hub: Hub;
  readonly #url: string;
  readonly #protocols: readonly string[];
  readonly #home: string | undefined;
  readonly #to: (page: string, message: FromHub) => void;
  readonly #alarm = new Alarm('share');
  /** What pages were sent and have not said that they took: characters of each message, and of all. */
  readonly #untaken = new Map<string, { messages: number[]; chars: number }>();
  readonly #ports = new Set<string>();
  #queue: (() => readonly Act[])[] = [];
  #busy = false;
  #ended = false;
  #socket: Upstream | undefined;

  /** @param to tells a page; @param home the page it is on, which takes everything at once */
  constructor(url: string, protocols: readonly string[], seen: Stretch | undefined, home: string | undefined, to: (page: string, message: FromHub) => void) {
    this.#hub = new Hub(seen);
    this.#url = url;
    this.#protocols = protocols;
    this.#home = home;
    this.#to = to;
  }

  /** A page says something. */
  from(page: string, message: ToHub): void {
    switch (message.is) {
      case 'took':
        return this.#took(page, message.count);
      case 'attach':
        this.#ports.add(message.port);
        return this.#feed(() => this.#hub.attach(message.port, message.text, performance.now()));
      case 'say':
        return this.#feed(() => this.#hub.say(message.port, message.text, performance.now()));
      case 'leave':
        return this.#leave(message.port, message.code);
    }
  }

  /** A page is there no more. */
  gone(page: string): void {
    this.#untaken.delete(page);
    for (const port of [...this.#ports]) if (pageOf(port) === page) this.#leave(port);
  }

  /** Lets go of everything; nobody is told. */
  end(): void {
    this.#ended = true;
    this.#alarm.clear();
    this.#shut(1000, 'Client disconnect');
  }

  #leave(port: string, code?: number): void {
    if (this.#ports.delete(port)) this.#feed(() => this.#hub.leave(port, code, performance.now()));
  }

  /** What is told may make a tab answer at once: that waits until all of it is told. */
  #feed(input: () => readonly Act[]): void {
    this.#queue.push(input);
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#queue.shift(); next && !this.#ended; next = this.#queue.shift()) for (const act of next()) this.#perform(act);
    } finally {
      this.#busy = false;
    }
  }

  #perform(act: Act): void {
    if (this.#ended) return;
    switch (act.do) {
      case 'open':
        return this.#open();
      case 'write':
        this.#socket?.socket.send(act.text);
        return;
      case 'shut':
        return this.#shut(act.code, act.reason);
      case 'send':
        return this.#send(act.ports, act.text);
      case 'end':
        this.#ports.delete(act.port);
        this.#to(pageOf(act.port), { is: 'end', port: act.port, code: act.code, reason: act.reason });
        return;
      case 'alone':
        for (const page of new Set([...this.#ports].map(pageOf))) this.#to(page, { is: 'alone' });
        return;
      case 'wake':
        if (act.at === undefined) this.#alarm.clear();
        else this.#alarm.set(Math.max(0, Math.ceil(act.at - performance.now())), () => this.#feed(() => this.#hub.tick(performance.now())));
    }
  }

  #send(ports: readonly string[], text: string): void {
    for (const page of new Set(ports.map(pageOf))) {
      if (this.#takes(page, text.length)) {
        this.#to(page, { is: 'text', ports: ports.filter((port) => pageOf(port) === page), text });
        continue;
      }
      for (const port of [...this.#ports]) {
        if (pageOf(port) !== page) continue;
        this.#to(page, { is: 'end', port, code: SLOW_CONSUMER, reason: 'slow consumer' });
        this.#leave(port);
      }
      this.#untaken.delete(page);
    }
  }

  /** Whether a page takes what it is sent; one on which the hub runs does, at once. */
  #takes(page: string, chars: number): boolean {
    if (page === this.#home) return true;
    const untaken = this.#untaken.get(page) ?? { messages: [], chars: 0 };
    this.#untaken.set(page, untaken);
    untaken.messages.push(chars);
    untaken.chars += chars;
    return untaken.messages.length <= UNTAKEN_MESSAGES && untaken.chars <= UNTAKEN_CHARS;
  }

  #took(page: string, count: number): void {
    const untaken = this.#untaken.get(page);
    if (untaken) for (const chars of untaken.messages.splice(0, count)) untaken.chars -= chars;
  }

  #open(): void {
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.#url, [...this.#protocols]);
    } catch (cause) {
      return this.#feed(() => this.#hub.closed(ABNORMAL, String(cause), performance.now()));
    }
    const own: Upstream = (this.#socket = { socket, entry: enter('socket', this.#url, () => socket.close()), heard: true });
    const mine = () => own.heard;
    socket.onopen = () => mine() && this.#feed(() => this.#hub.opened(performance.now()));
    socket.onmessage = ({ data }) => mine() && this.#feed(() => this.#hub.hear(String(data), performance.now()));
    socket.onclose = ({ code, reason }) => {
      leave(own.entry);
      if (!mine()) return;
      own.heard = false;
      if (this.#socket === own) this.#socket = undefined;
      this.#feed(() => this.#hub.closed(code === HANDED_OVER ? ABNORMAL : code, reason, performance.now()));
    };
  }

  #shut(code: number, reason: string): void {
    const own = this.#socket;
    this.#socket = undefined;
    if (!own) return;
    own.heard = false;
    leave(own.entry);
    // Until the browser has reported its end.
    own.entry = enter('socket_closing', this.#url, () => {});
    own.socket.close(code, reason);
  }
}
