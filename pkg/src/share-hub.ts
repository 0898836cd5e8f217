// One connection to a relay as a connection for each tab (`docs/decisions/0043-one-socket-for-all-tabs.md`). Whatever a tab is told, the
// relay could have told it. A machine: it knows no socket, clock or chance, and answers what is to be done.

import { ShareBeat } from './share-beat.js';
import { ShareFeed } from './share-feed.js';
import { type Frame, type Stretch, stretchOf } from './share-log.js';
import { SharePace } from './share-pace.js';
import { type Act, HANDED_OVER, type Out, type Tab, tabOf } from './share-tab.js';
import { ShareTokens } from './share-tokens.js';

/** What clients close with. */
const NORMAL = 1000;
const HEARTBEAT_LOST = 4100;
const PROTOCOL = 4101;
const CONNECT_TIMEOUT = 4102;

/** How long a server may take to greet. */
const GREETING_MS = 2_000;

type Phase = 'none' | 'opening' | 'greeting' | 'auth' | 'live' | 'alone';

/** See the module. */
export class Hub implements Out {
  readonly #pace = new SharePace();
  readonly #beat = new ShareBeat();
  readonly #tokens = new ShareTokens();
  readonly #tabs = new Map<string, Tab>();
  readonly #feed: ShareFeed;
  #phase: Phase = 'none';
  #acts: Act[] = [];
  #wake: number | undefined;
  #due: number | undefined;
  #greeting: string | undefined;
  #greetBy = 0;
  /** The tab whose `auth` was sent, and whether it was refused. */
  #owner: Tab | undefined;
  #refused = false;
  /** @param seen what was seen of the log before. */
  constructor(seen?: Stretch) {
    this.#feed = new ShareFeed(this.#tabs, this.#tokens, this, seen);
  }

  /** A tab connects, and authenticates so. */
  attach(port: string, auth: string, now: number): readonly Act[] {
    if (this.#phase === 'alone') return [{ do: 'alone' }, { do: 'end', port, code: HANDED_OVER, reason: 'not shared' }];
    this.#tabs.set(port, tabOf(port, JSON.parse(auth)));
    if (this.#greeting) this.send([port], this.#greeting);
    return this.#settle(now);
  }

  /** A tab says something. */
  say(port: string, text: string, now: number): readonly Act[] {
    const tab = this.#tabs.get(port);
    if (!tab?.live) return [];
    const frame: Frame = JSON.parse(text);
    if (frame.type === 'ping') tab.pings.push(frame.payload?.timestamp);
    else if (frame.type === 'auth') this.#tokens.renewal(tab, frame);
    else if (frame.type === 'orders:sync') this.#feed.sync(tab, frame);
    else this.#pace.push(port, frame.id, text);
    return this.#settle(now);
  }

  /** A tab has gone, with this code if it said so. */
  leave(port: string, code: number | undefined, now: number): readonly Act[] {
    if (!this.#forget(port) || this.#phase === 'none' || this.#phase === 'alone') return [];
    if (this.#tabs.size === 0) this.#shut(NORMAL, 'Client disconnect');
    else if (code === HEARTBEAT_LOST && this.#beat.silent) {
      this.#shut(HEARTBEAT_LOST, 'heartbeat lost');
      this.#endAll(HANDED_OVER, 'heartbeat lost');
    } else if (code === CONNECT_TIMEOUT && this.#phase !== 'live') this.#shut(CONNECT_TIMEOUT, 'connect timeout');
    return this.#settle(now);
  }

  /** The connection to the relay has opened. */
  opened(now: number): readonly Act[] {
    if (this.#phase === 'opening') {
      this.#phase = 'greeting';
      this.#greetBy = now + GREETING_MS;
    }
    return this.#settle(now);
  }

  /** The relay says something. */
  hear(text: string, now: number): readonly Act[] {
    this.#beat.heard();
    if (!this.#frames(text, now)) this.#broken();
    return this.#settle(now);
  }

  /** The connection to the relay has closed, or never opened. */
  closed(code: number, reason: string, now: number): readonly Act[] {
    const refused = this.#refused && this.#phase === 'auth' ? this.#owner : undefined;
    this.#over();
    // Another tab's token may be a better one.
    if (refused) this.end(refused.port, code, reason);
    else this.#endAll(code, reason);
    return this.#settle(now);
  }

  /** The time that `wake` named has come. */
  tick(now: number): readonly Act[] {
    this.#wake = undefined;
    if (this.#phase === 'greeting' && now >= this.#greetBy) this.#authenticate();
    return this.#settle(now);
  }

  /** Answers whether it makes sense. */
  #frames(text: string, now: number): boolean {
    let parsed: Frame;
    try {
      parsed = JSON.parse(text);
    } catch {
      return false;
    }
    const single = !Array.isArray(parsed);
    return (single ? [parsed] : (parsed as Frame[])).every((frame) => {
      if (typeof frame?.type !== 'string') return false;
      const own = single ? text : JSON.stringify(frame);
      if (this.#phase === 'live') return this.#live(frame, own, now);
      this.#early(frame, own, now);
      return true;
    });
  }

  /** A frame before `auth:success`, and that one. */
  #early(frame: Frame, text: string, now: number): void {
    if (frame.type === 'connected' && this.#phase === 'greeting') {
      if (frame.auth_required === false) return this.#alone();
      this.#greeting = text;
      this.send([...this.#tabs.keys()], text);
      this.#authenticate();
    } else if (frame.type === 'auth:success' && this.#phase === 'auth') {
      this.#authenticated(frame, now);
    } else if (frame.type === 'auth:failed' && this.#phase === 'auth') {
      this.#refused = true;
      if (this.#owner && this.#tabs.has(this.#owner.port)) this.send([this.#owner.port], text);
    }
  }

  #authenticate(): void {
    const [first] = this.#tabs.values();
    if (!first) return;
    this.#phase = 'auth';
    this.#owner = first;
    this.write(JSON.stringify(this.#feed.authOf(first)));
  }

  #authenticated(frame: Frame, now: number): void {
    const { protocol, epoch, seq, limits } = frame;
    if (protocol !== 'tautline.v1' || typeof epoch !== 'string' || typeof seq !== 'number') return this.#alone();
    this.#phase = 'live';
    this.#tokens.begin(frame, this.#owner, now);
    this.#pace.begin(limits, now);
    this.#feed.begin(frame, this.#owner?.auth.sync === true);
  }

  /** A frame of a connection that is authenticated; answers whether it makes sense. */
  #live(frame: Frame, text: string, now: number): boolean {
    const stretch = stretchOf(frame);
    if (stretch) return this.#feed.logged(stretch, text, frame.type === 'cursor');
    switch (frame.type) {
      case 'connected':
      // Nobody has been shown its parts, and another follows by itself.
      case 'sync_aborted':
        return true;
      case 'pong':
        this.#feed.deliver();
        this.#feed.name(frame.payload?.seq);
        this.#beat.answer(this.#tabs.values(), frame, this);
        return true;
      case 'ack':
      case 'nack':
        this.#answered(frame, text, now);
        return true;
      case 'sync_complete':
        return this.#feed.synced(frame.payload, now);
      case 'reset':
        this.#feed.reset(frame);
        this.send(this.#lively(), text);
        return true;
      case 'auth:success':
      case 'auth:failed':
        this.#tokens.answered(frame, text, now, this);
        return true;
      case 'error':
        this.#error(frame, text, now);
        return true;
      default:
        // An event without a number, the relay's word on its store: for everybody, behind what came before it.
        this.#feed.deliver();
        this.send(this.#lively(), text);
        return true;
    }
  }

  #answered(frame: Frame, text: string, now: number): void {
    const { id, type, error } = frame;
    if (this.#feed.answered(frame, now)) return;
    const port = this.#pace.answered(id);
    if (type === 'nack' && error?.code === 'rate_limited') this.#pace.refused(error.retry_after_ms, now);
    if (port !== undefined && this.#tabs.has(port)) this.send([port], text);
  }

  #error(frame: Frame, text: string, now: number): void {
    if (frame.ref_type === 'auth') return this.#tokens.tooSoon(frame.error?.retry_after_ms, now);
    if (frame.ref_type === 'subscribe') this.#feed.misfit(text);
    this.send(this.#lively(), text);
  }

  #drain(now: number): void {
    for (let next = this.#pace.next(now); next; next = this.#pace.next(now)) {
      if ('at' in next) return this.at(next.at);
      this.write(next.text);
    }
  }

  /** What follows from where things stand; answers all that is to be done. */
  #settle(now: number): readonly Act[] {
    this.#due = undefined;
    if (this.#phase === 'none' && this.#tabs.size > 0) {
      this.#phase = 'opening';
      this.#acts.push({ do: 'open' });
    }
    if (this.#phase === 'greeting') this.at(this.#greetBy);
    if (this.#phase === 'live') {
      this.#feed.settle(now);
      this.#drain(now);
      this.#beat.ask(this.#tabs.values(), now, this);
      this.#tokens.renew(this.#tabs.values(), now, this);
    }
    if (this.#due !== this.#wake) this.#acts.push({ do: 'wake', at: (this.#wake = this.#due) });
    const acts = this.#acts;
    this.#acts = [];
    return acts;
  }

  /** The relay said what makes no sense: all begin anew. */
  #broken(): void {
    if (this.#phase === 'none' || this.#phase === 'alone') return;
    this.#shut(PROTOCOL, 'protocol error');
    this.#feed.clear();
    this.#endAll(HANDED_OVER, 'protocol error');
  }

  #alone(): void {
    this.#shut(NORMAL, 'Client disconnect');
    this.#phase = 'alone';
    this.#acts.push({ do: 'alone' });
    this.#endAll(HANDED_OVER, 'not shared');
  }

  #shut(code: number, reason: string): void {
    this.#over();
    this.#acts.push({ do: 'shut', code, reason });
  }

  /** The connection to the relay is over; the log stays. */
  #over(): void {
    this.#phase = 'none';
    this.#greeting = this.#owner = undefined;
    this.#refused = false;
    this.#feed.over();
    this.#beat.begin();
  }

  #endAll(code: number, reason: string): void {
    for (const port of [...this.#tabs.keys()]) this.end(port, code, reason);
  }

  /** @internal */
  end(port: string, code: number, reason: string): void {
    if (this.#forget(port)) this.#acts.push({ do: 'end', port, code, reason });
  }

  #forget(port: string): boolean {
    const tab = this.#tabs.get(port);
    if (!tab) return false;
    this.#tabs.delete(port);
    this.#pace.forget(port);
    this.#tokens.forget(tab);
    return true;
  }

  #lively(): string[] {
    return [...this.#tabs.values()].filter(({ live }) => live).map(({ port }) => port);
  }

  /** @internal */
  send(ports: readonly string[], text: string): void {
    if (ports.length > 0) this.#acts.push({ do: 'send', ports, text });
  }

  /** @internal */
  write(text: string): void {
    this.#acts.push({ do: 'write', text });
  }

  /** @internal */
  at(time: number): void {
    this.#due = Math.min(this.#due ?? Infinity, time);
  }
}
