// What each tab is sent of the restaurant's log: from where it is, out of the log at hand, or out of what the relay is asked for.

import { type Frame, ShareLog, type Stretch, stretchOf } from './share-log.js';
import type { Out, Tab } from './share-tab.js';
import type { ShareTokens } from './share-tokens.js';
import { framesOf, ShareWalk, type Snapshot } from './share-walk.js';

const POLICY = 1008;

/** See the module. */
export class ShareFeed {
  readonly #log = new ShareLog();
  readonly #walk = new ShareWalk();
  readonly #tabs: ReadonlyMap<string, Tab>;
  readonly #tokens: ShareTokens;
  readonly #out: Out;
  /** The highest number that the relay has named. */
  #named = 0;
  /** What the relay said of a filter that it could not use. */
  #misfit: string | undefined;
  /** Whether numbers are skipped: a filter, or a role that sees less. */
  #skips = false;
  #made = 0;

  /** @param seen what was seen of the log before. */
  constructor(tabs: ReadonlyMap<string, Tab>, tokens: ShareTokens, out: Out, seen?: Stretch) {
    this.#tabs = tabs;
    this.#tokens = tokens;
    this.#out = out;
    const first = seen?.entries[0];
    if (!seen || !first) return;
    this.#log.start(seen.epoch, first.from);
    for (const entry of seen.entries) this.#log.append(entry);
  }

  /** A tab's `auth` for the relay: from where the log is, if that is further, since what is between is at hand. */
  authOf({ auth }: Tab): Frame {
    const { resume } = auth;
    const further = this.#log.head !== undefined && (resume?.epoch !== this.#log.epoch || this.#log.covers(resume.seq));
    if (!further && resume) this.#log.start(resume.epoch, resume.seq);
    const { epoch, head } = this.#log;
    return head === undefined ? auth : { ...auth, resume: { epoch, seq: head } };
  }

  /** The relay took it; `sync`: it brings its snapshot, if it does not resume. */
  begin({ epoch, seq, resumed }: Frame, sync: boolean): void {
    this.#named = seq;
    this.#walk.begin();
    if (resumed === true && epoch === this.#log.epoch) return;
    this.#walk.kept = undefined;
    // The snapshot gives the position.
    if (sync) this.#log.clear(epoch);
    else this.#log.start(epoch, seq);
  }

  /** The connection to the relay is over; the log stays. */
  over(): void {
    this.#misfit = undefined;
    this.#skips = false;
    this.#walk.over();
  }

  /** The log is worth nothing. */
  clear(): void {
    this.#log.clear();
    this.#walk.kept = undefined;
  }

  /** An event or a cursor frame; answers whether it makes sense. */
  logged(stretch: NonNullable<ReturnType<typeof stretchOf>>, text: string, cursor: boolean): boolean {
    const { from, seq, epoch } = stretch;
    const { head } = this.#log;
    if (epoch !== this.#log.epoch || head === undefined) return false;
    this.#skips ||= cursor;
    const { rewind } = this.#walk;
    if (rewind !== undefined && from <= rewind && seq > rewind && rewind < head) {
      // The relay has gone back: the log begins there, and those who are further wait until it is where they are.
      this.deliver();
      this.#log.start(epoch, rewind);
    }
    this.name(seq);
    return this.#log.append({ from, seq, text }) || seq <= head;
  }

  /** The relay named a number of its log. */
  name(seq: unknown): void {
    if (typeof seq === 'number') this.#named = Math.max(this.#named, seq);
  }

  /** Sends to each tab what it has not got of the log. */
  deliver(): void {
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
      for (const text of this.#log.after(position)) this.#out.send(ports, text);
      for (const tab of tabs) tab.position = head;
    }
  }

  /** Whether this answers what the relay was asked for. */
  answered({ id, type, error }: Frame, now: number): boolean {
    if (!this.#walk.is(id)) return false;
    if (type === 'nack') this.#walk.refused(error?.retry_after_ms, now);
    return true;
  }

  /** The relay could not use the filter: each tab is told, those that come later too. */
  misfit(text: string): void {
    this.#misfit = text;
  }

  /** The log has another history; the relay's snapshot of it follows unasked, to every one of its connections. */
  reset({ epoch, seq }: Frame): void {
    this.deliver();
    this.#walk.over();
    this.#log.clear(epoch);
    this.#named = seq;
    for (const tab of this.#tabs.values()) {
      if (tab.live) Object.assign(tab, { position: undefined, behind: undefined, resuming: false, wants: tab.wants ?? this.#name() });
    }
  }

  /** The end of a sync, or a part of a snapshot; answers whether it makes sense. */
  synced(payload: Frame, now: number): boolean {
    if (payload?.status === 'resumed') {
      this.deliver();
      this.#walk.over();
      return true;
    }
    const { rewind } = this.#walk;
    const snapshot = this.#walk.part(payload);
    if (!snapshot) return true;
    const { epoch, seq } = snapshot;
    this.deliver();
    const { head } = this.#log;
    if (this.#log.epoch !== epoch || head === undefined) this.#log.start(epoch, seq);
    else if (seq < head) return false;
    else if (seq > head && this.#skips) {
      // What is between is for nobody here, or the relay would have sent it first.
      this.#log.append({ from: head, seq, text: JSON.stringify({ type: 'cursor', epoch, from: head, seq }) });
      this.deliver();
    } else if (seq > head) {
      // It fell off the relay's tail: what it missed is in the snapshot, for everybody.
      this.#log.start(epoch, seq);
      for (const tab of this.#tabs.values()) if (tab.live) tab.wants ??= this.#name();
    }
    this.name(seq);
    // The relay was asked to go back, and cannot.
    for (const tab of this.#tabs.values()) if (rewind !== undefined && tab.behind !== undefined && !this.#log.covers(tab.behind)) this.#anew(tab);
    this.#place(now);
    for (const tab of this.#tabs.values()) this.#bring(tab, snapshot);
    return true;
  }

  /** A tab asks for what it lacks. */
  sync(tab: Tab, { id, payload }: Frame): void {
    if (id !== undefined) this.#out.send([tab.port], JSON.stringify({ type: 'ack', id, payload: {} }));
    if (typeof payload?.seq === 'number' && payload.epoch === this.#log.epoch) {
      Object.assign(tab, { wants: undefined, resuming: true, behind: payload.seq, position: undefined });
    } else tab.wants = typeof id === 'string' ? id : this.#name();
  }

  /** Puts each tab where it goes on from, and asks the relay for what is not at hand. */
  settle(now: number): void {
    this.#place(now);
    this.#ask(now);
  }

  /** As far as the log at hand has what follows. */
  #place(now: number): void {
    if (this.#log.head === undefined) return;
    for (const tab of this.#tabs.values()) {
      if (!tab.live) this.#admit(tab, this.#log.head, now);
      else if (tab.behind !== undefined && this.#log.covers(tab.behind)) Object.assign(tab, { position: tab.behind, behind: undefined });
    }
    this.deliver();
    for (const tab of this.#tabs.values()) {
      if (!tab.resuming || tab.position !== this.#log.head || this.#walk.rewind !== undefined) continue;
      tab.resuming = false;
      const payload = { status: 'resumed', epoch: this.#log.epoch, seq: tab.position };
      this.#out.send([tab.port], JSON.stringify({ type: 'sync_complete', payload }));
    }
  }

  /** Gives a waiting tab its `auth:success`, if what it missed is at hand or to be had no more. */
  #admit(tab: Tab, head: number, now: number): void {
    const { port, auth } = tab;
    const { epoch } = this.#log;
    if (this.#tokens.late(tab, now)) {
      this.#out.send([port], JSON.stringify({ type: 'auth:failed', code: 'token_expired', error: 'the token has run out' }));
      return this.#out.end(port, POLICY, 'token_expired');
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
    this.#out.send([port], JSON.stringify({ ...success, epoch, seq, resumed, ...this.#tokens.life(tab, now) }));
    if (this.#misfit) this.#out.send([port], this.#misfit);
  }

  #ask(now: number): void {
    const { kept } = this.#walk;
    if (this.#log.head === undefined) return;
    if (kept && this.#log.covers(kept.seq)) {
      for (const tab of this.#tabs.values()) if ((tab.position ?? 0) <= kept.seq) this.#bring(tab, kept);
      this.deliver();
    }
    if (this.#walk.underWay(now)) return;
    const tabs = [...this.#tabs.values()];
    const behind = tabs.flatMap((tab) => tab.behind ?? []);
    if (behind.length === 0 && tabs.every(({ wants }) => wants === undefined)) return;
    const asked = this.#walk.ask(this.#log.epoch, behind.length > 0 ? Math.min(...behind) : undefined, now);
    if ('text' in asked) this.#out.write(asked.text);
    else this.#out.at(asked.at);
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
    for (const text of framesOf(snapshot, wants)) this.#out.send([port], text);
    Object.assign(tab, { wants: undefined, behind: undefined, resuming: false, position: snapshot.seq });
  }

  #name(): string {
    return `share.${++this.#made}`;
  }
}
