// One connection to a relay as a connection for each tab (`docs/decisions/0043-one-socket-for-all-tabs.md`). Whatever a tab is told, the
// relay could have told it. A machine: it knows no socket, clock or chance, and answers what is to be done.

import { ShareBeat } from './share-beat.js';
import { type Frame, ShareLog, type Stretch, stretchOf } from './share-log.js';
import { SharePace } from './share-pace.js';
import { type Act, HANDED_OVER, type Out, type Tab, tabOf } from './share-tab.js';
import { ShareTokens } from './share-tokens.js';
import { framesOf, ShareWalk, type Snapshot } from './share-walk.js';

/** What clients close with. */
const NORMAL = 1000;
const POLICY = 1008;
const HEARTBEAT_LOST = 4100;
const PROTOCOL = 4101;
const CONNECT_TIMEOUT = 4102;

/** How long a server may take to greet. */
const GREETING_MS = 2_000;

type Phase = 'none' | 'opening' | 'greeting' | 'auth' | 'live' | 'alone';

/** See the module. */
export class Hub implements Out {
  readonly #log = new ShareLog();
  readonly #pace = new SharePace();
  readonly #walk = new ShareWalk();
  readonly #beat = new ShareBeat();
  readonly #tokens = new ShareTokens();
  readonly #tabs = new Map<string, Tab>();
  #phase: Phase = 'none';
  #acts: Act[] = [];
  #wake: number | undefined;
  #due: number | undefined;
  #greeting: string | undefined;
  #greetBy = 0;
  /** The tab whose `auth` was sent, and whether it was refused. */
  #owner: Tab | undefined;
  #refused = false;
  /** The highest number that the relay has named. */
  #named = 0;
  /** What the relay said of a filter that it could not use. */
  #misfit: string | undefined;
  /** Whether numbers are skipped: a filter, or a role that sees less. */
  #skips = false;
  #made = 0;

  /** @param seen what was seen of the log before. */
  constructor(seen?: Stretch) {
    const first = seen?.entries[0];
    if (!seen || !first) return;
    this.#log.start(seen.epoch, first.from);
    for (const entry of seen.entries) this.#log.append(entry);
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
    else if (frame.type === 'orders:sync') this.#sync(tab, frame);
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
    if (refused) this.#end(refused.port, code, reason);
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
    const { resume } = first.auth;
    // From where the log is, if that is further: what is between is at hand.
    const further = this.#log.head !== undefined && (resume?.epoch !== this.#log.epoch || this.#log.covers(resume.seq));
    if (!further && resume) this.#log.start(resume.epoch, resume.seq);
    const { epoch, head } = this.#log;
    this.write(JSON.stringify(head === undefined ? first.auth : { ...first.auth, resume: { epoch, seq: head } }));
  }

  #authenticated(frame: Frame, now: number): void {
    const { protocol, epoch, seq, resumed, limits } = frame;
    if (protocol !== 'tautline.v1' || typeof epoch !== 'string' || typeof seq !== 'number') return this.#alone();
    this.#phase = 'live';
    this.#named = seq;
    this.#tokens.begin(frame, this.#owner, now);
    this.#pace.begin(limits, now);
    this.#walk.begin();
    if (resumed === true && epoch === this.#log.epoch) return;
    this.#walk.kept = undefined;
    // With `sync` the relay's snapshot follows at once, and gives the position.
    if (this.#owner?.auth.sync === true) this.#log.clear(epoch);
    else this.#log.start(epoch, seq);
  }

  /** A frame of a connection that is authenticated; answers whether it makes sense. */
  #live(frame: Frame, text: string, now: number): boolean {
    const stretch = stretchOf(frame);
    if (stretch) return this.#logged(stretch, text, frame.type === 'cursor');
    switch (frame.type) {
      case 'connected':
      // Nobody has been shown its parts, and another follows by itself.
      case 'sync_aborted':
        return true;
      case 'pong':
        this.#deliver();
        this.#named = Math.max(this.#named, frame.payload?.seq ?? 0);
        this.#beat.answer(this.#tabs.values(), frame, this);
        return true;
      case 'ack':
      case 'nack':
        this.#answered(frame, text, now);
        return true;
      case 'sync_complete':
        return this.#synced(frame.payload, now);
      case 'reset':
        this.#reset(frame, text);
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
        this.#deliver();
        this.send(this.#lively(), text);
        return true;
    }
  }

  #logged({ from, seq, epoch }: { from: number; seq: number; epoch: string }, text: string, cursor: boolean): boolean {
    const { head } = this.#log;
    if (epoch !== this.#log.epoch || head === undefined) return false;
    this.#skips ||= cursor;
    const { rewind } = this.#walk;
    if (rewind !== undefined && from <= rewind && seq > rewind && rewind < head) {
      // The relay has gone back: the log begins there, and those who are further wait until it is where they are.
      this.#deliver();
      this.#log.start(epoch, rewind);
    }
    this.#named = Math.max(this.#named, seq);
    return this.#log.append({ from, seq, text }) || seq <= head;
  }

  /** Sends to each tab what it has not got of the log. */
  #deliver(): void {
    const { head } = this.#log;
    if (head === undefined) return;
    const at = new Map<number, Tab[]>();
    for (const tab of this.#tabs.values()) {
      const { position } = tab;
      if (!tab.live || position === undefined || position >= head) continue;
      if (this.#log.covers(position)) at.set(position, [...(at.get(position) ?? []), tab]);
      else Object.assign(tab, { behind: position, position: undefined });
    }
    for (const [position, tabs] of at) {
      const ports = tabs.map(({ port }) => port);
      for (const text of this.#log.after(position)) this.send(ports, text);
      for (const tab of tabs) tab.position = head;
    }
  }

  #answered(frame: Frame, text: string, now: number): void {
    const { id, type, error } = frame;
    if (this.#walk.is(id)) {
      if (type === 'nack') this.#walk.refused(error?.retry_after_ms, now);
      return;
    }
    const port = this.#pace.answered(id);
    if (type === 'nack' && error?.code === 'rate_limited') this.#pace.refused(error.retry_after_ms, now);
    if (port !== undefined && this.#tabs.has(port)) this.send([port], text);
  }

  #error(frame: Frame, text: string, now: number): void {
    if (frame.ref_type === 'auth') return this.#tokens.tooSoon(frame.error?.retry_after_ms, now);
    if (frame.ref_type === 'subscribe') this.#misfit = text;
    this.send(this.#lively(), text);
  }

  /** The log has another history; the relay's snapshot of it follows unasked, to every one of its connections. */
  #reset({ epoch, seq }: Frame, text: string): void {
    this.#deliver();
    this.#walk.over();
    this.#log.clear(epoch);
    this.#named = seq;
    this.send(this.#lively(), text);
    for (const tab of this.#tabs.values()) {
      if (tab.live) Object.assign(tab, { position: undefined, behind: undefined, resuming: false, wants: tab.wants ?? this.#name() });
    }
  }

  /** The end of a sync, or a part of a snapshot; answers whether it makes sense. */
  #synced(payload: Frame, now: number): boolean {
    if (payload?.status === 'resumed') {
      this.#deliver();
      this.#walk.over();
      return true;
    }
    const { rewind } = this.#walk;
    const snapshot = this.#walk.part(payload);
    if (!snapshot) return true;
    const { epoch, seq } = snapshot;
    this.#deliver();
    const { head } = this.#log;
    if (this.#log.epoch !== epoch || head === undefined) this.#log.start(epoch, seq);
    else if (seq < head) return false;
    else if (seq > head && this.#skips) {
      // What is between is for nobody here, or the relay would have sent it first.
      this.#log.append({ from: head, seq, text: JSON.stringify({ type: 'cursor', epoch, from: head, seq }) });
      this.#deliver();
    } else if (seq > head) {
      // It fell off the relay's tail: what it missed is in the snapshot, for everybody.
      this.#log.start(epoch, seq);
      for (const tab of this.#tabs.values()) if (tab.live) tab.wants ??= this.#name();
    }
    this.#named = Math.max(this.#named, seq);
    // The relay was asked to go back, and cannot.
    for (const tab of this.#tabs.values()) if (rewind !== undefined && tab.behind !== undefined && !this.#log.covers(tab.behind)) this.#anew(tab);
    this.#place(now);
    for (const tab of this.#tabs.values()) this.#bring(tab, snapshot);
    return true;
  }

  /** What a tab has missed is to be had no more. */
  #anew(tab: Tab): void {
    if (tab.live) tab.wants ??= this.#name();
    else tab.auth = { ...tab.auth, resume: undefined };
    Object.assign(tab, { behind: undefined, resuming: false });
  }

  #bring(tab: Tab, snapshot: Snapshot): void {
    const { port, wants } = tab;
    if (wants === undefined) return;
    for (const text of framesOf(snapshot, wants)) this.send([port], text);
    Object.assign(tab, { wants: undefined, behind: undefined, resuming: false, position: snapshot.seq });
  }

  /** A tab asks for what it lacks. */
  #sync(tab: Tab, { id, payload }: Frame): void {
    if (id !== undefined) this.send([tab.port], JSON.stringify({ type: 'ack', id, payload: {} }));
    if (typeof payload?.seq === 'number' && payload.epoch === this.#log.epoch) {
      Object.assign(tab, { wants: undefined, resuming: true, behind: payload.seq, position: undefined });
    } else tab.wants = typeof id === 'string' ? id : this.#name();
  }

  /** Puts tabs where they go on from, as far as the log at hand has what follows. */
  #place(now: number): void {
    if (this.#log.head === undefined) return;
    for (const tab of this.#tabs.values()) {
      if (!tab.live) this.#admit(tab, this.#log.head, now);
      else if (tab.behind !== undefined && this.#log.covers(tab.behind)) Object.assign(tab, { position: tab.behind, behind: undefined });
    }
    this.#deliver();
    for (const tab of this.#tabs.values()) {
      if (!tab.resuming || tab.position !== this.#log.head || this.#walk.rewind !== undefined) continue;
      tab.resuming = false;
      const payload = { status: 'resumed', epoch: this.#log.epoch, seq: tab.position };
      this.send([tab.port], JSON.stringify({ type: 'sync_complete', payload }));
    }
  }

  /** Gives a waiting tab its `auth:success`, if what it missed is at hand or to be had no more. */
  #admit(tab: Tab, head: number, now: number): void {
    const { port, auth } = tab;
    const { epoch } = this.#log;
    if (this.#tokens.late(tab, now)) {
      this.send([port], JSON.stringify({ type: 'auth:failed', code: 'token_expired', error: 'the token has run out' }));
      return this.#end(port, POLICY, 'token_expired');
    }
    const resumed = auth.resume?.epoch === epoch;
    const from: number = resumed ? auth.resume.seq : head;
    const ahead = from >= head && from <= this.#named;
    tab.behind = undefined;
    if (!ahead && !this.#log.covers(from)) {
      tab.behind = from;
      return;
    }
    tab.live = true;
    if (!resumed && auth.sync === true) tab.wants = this.#name();
    else tab.position = from;
    const seq = tab.position === undefined || resumed ? this.#named : head;
    const { expires_at: _, ...success } = this.#tokens.success;
    this.send([port], JSON.stringify({ ...success, epoch, seq, resumed, ...this.#tokens.life(tab, now) }));
    if (this.#misfit) this.send([port], this.#misfit);
  }

  /** Asks the relay for what the log at hand does not have. */
  #ask(now: number): void {
    const { kept } = this.#walk;
    if (this.#log.head === undefined) return;
    if (kept && this.#log.covers(kept.seq)) {
      for (const tab of this.#tabs.values()) if ((tab.position ?? 0) <= kept.seq) this.#bring(tab, kept);
      this.#deliver();
    }
    if (this.#walk.underWay(now)) return;
    const tabs = [...this.#tabs.values()];
    const behind = tabs.flatMap((tab) => tab.behind ?? []);
    if (behind.length === 0 && tabs.every(({ wants }) => wants === undefined)) return;
    const asked = this.#walk.ask(this.#log.epoch, behind.length > 0 ? Math.min(...behind) : undefined, now);
    if ('text' in asked) this.write(asked.text);
    else this.at(asked.at);
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
      this.#place(now);
      this.#ask(now);
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
    this.#log.clear();
    this.#walk.kept = undefined;
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
    this.#greeting = this.#owner = this.#misfit = undefined;
    this.#refused = this.#skips = false;
    this.#walk.over();
    this.#beat.begin();
  }

  #endAll(code: number, reason: string): void {
    for (const port of [...this.#tabs.keys()]) this.#end(port, code, reason);
  }

  #end(port: string, code: number, reason: string): void {
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

  #name(): string {
    return `share.${++this.#made}`;
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
