// A relay and its tabs in small, for the hub between them: the relay holds the true log, a tab accepts nothing that the protocol
// does not allow, and both forget nothing.

import assert from 'node:assert/strict';

/** The same numbers for the same seed. */
export function chance(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  return { below: (n) => Math.floor(next() * n), one: (list) => list[Math.floor(next() * list.length)], is: (share) => next() < share };
}

const bytes = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
/** A token that nobody verifies. @param {number} ends ms since 1970 */
export const token = (ends, claims = {}) => `${bytes({ alg: 'none' })}.${bytes({ sub: 'kitchen', restaurant_id: 'grow', role: 'kitchen', ...claims, exp: ends / 1_000 })}.x`;
export const endOf = (text) => JSON.parse(Buffer.from(text.split('.')[1], 'base64url').toString()).exp * 1_000;

const SYNC_EVERY_MS = 5_000;
const RENEWAL_EVERY_MS = 10_000;
/** The relay's clock is another one. */
export const SERVER_TIME = 1_700_000_000_000;

/** Its log, and at most one connection. */
export class Relay {
  epoch = 'one';
  log = [];
  orders = new Map();
  applied = new Map();
  refusals = [];
  connections = 0;
  conn;
  /** How far back it can resume; whether every third event is not for this connection's eyes; orders in a part of a snapshot. */
  constructor({ tail = 10_000, filtered = false, part = 3, rate = { rate_per_s: 20, burst: 100 }, speaks = 'tautline.v1' } = {}) {
    Object.assign(this, { tail, filtered, part, rate, speaks });
  }

  get head() {
    return this.log.length;
  }

  /** Something happens in the restaurant. */
  publish(id, state, commandId) {
    const order = { id, state };
    this.orders.set(id, order);
    const seq = this.head + 1;
    const event = { type: this.filtered && seq % 3 === 0 ? 'menu:updated' : 'order:updated', payload: { order }, seq, epoch: this.epoch, ...(commandId ? { command_id: commandId } : {}) };
    this.log.push(event);
    return seq;
  }

  /** Another history: positions of the one before are void. */
  renew() {
    this.epoch = `${this.epoch}+`;
    this.log = this.log.map((event) => ({ ...event, epoch: this.epoch }));
    if (this.conn?.live) {
      const { conn } = this;
      const { sending } = conn;
      if (sending?.next > 0) conn.out.push({ type: 'sync_aborted', sync_id: sending.id, reason: 'epoch' });
      conn.sending = undefined;
      conn.out.push({ type: 'reset', epoch: this.epoch, seq: this.head });
      this.#snapshot(conn, sending?.id ?? `relay.${++conn.named}`, false);
      conn.at = conn.told = this.head;
    }
  }

  accept(now) {
    this.connections += 1;
    this.conn = { out: [{ type: 'connected', auth_required: true, heartbeat_ms: 15_000 }], at: 0, told: 0, live: false, now, synced: -Infinity, renewed: -Infinity, tokens: this.rate.burst, filled: now, waiting: [], named: 0, closed: undefined };
  }

  drop() {
    this.conn = undefined;
  }

  hear(text, now) {
    const { conn } = this;
    const frame = JSON.parse(text);
    const error = (code, more) => conn.out.push({ type: 'error', error: { code, message: code, ...more }, ref_type: frame.type });
    if (!conn.live) {
      assert.equal(frame.type, 'auth');
      return this.#auth(frame, now);
    }
    if (frame.type === 'ping') {
      conn.pinged = frame.payload.timestamp;
    } else if (frame.type === 'auth') {
      if (now - conn.renewed < RENEWAL_EVERY_MS) return void (this.refusals.push('renewal'), error('rate_limited', { retry_after_ms: 1_000 }));
      conn.renewed = now;
      conn.ends = endOf(frame.token);
      conn.out.push({ type: 'auth:success', renewal: true, view: 'v', expires_in_ms: conn.ends - SERVER_TIME - now });
    } else if (frame.type === 'orders:sync') {
      const { epoch, seq } = frame.payload;
      if (conn.syncing || now - conn.synced < SYNC_EVERY_MS) {
        this.refusals.push('sync');
        return void conn.out.push({ type: 'nack', id: frame.id, error: { code: 'rate_limited', message: '', outcome: 'not_applied', retry_after_ms: 1_000 } });
      }
      conn.synced = now;
      conn.syncing = true;
      conn.out.push({ type: 'ack', id: frame.id, payload: {} });
      if (epoch === this.epoch && seq <= this.head && seq >= this.head - this.tail) {
        conn.at = conn.told = Math.min(conn.at, seq);
        conn.mark = this.head;
        conn.sending = undefined;
      } else this.#snapshot(conn, frame.id, !conn.sending || conn.sending.catchUp);
    } else this.#command(conn, frame, now);
  }

  #auth({ token: given, resume, sync, protocol }, now) {
    const { conn } = this;
    assert.equal(protocol, 'tautline.v1');
    const ends = endOf(given);
    if (ends < SERVER_TIME + now) {
      conn.out.push({ type: 'auth:failed', code: 'token_expired', error: '' });
      conn.closed = [1008, 'token_expired'];
      return;
    }
    conn.ends = ends;
    conn.live = true;
    const resumed = resume?.epoch === this.epoch && resume.seq <= this.head && resume.seq >= this.head - this.tail;
    conn.at = conn.told = resumed ? resume.seq : this.head;
    conn.out.push({
      type: 'auth:success', protocol: this.speaks, restaurant_id: 'grow', user_id: 'u', role: 'kitchen', view: 'v', expires_in_ms: ends - SERVER_TIME - now,
      epoch: this.epoch, seq: this.head, resumed, dedupe_ms: 86_400_000, limits: { ...this.rate, max_message: 65_536 }, timestamp: new Date(SERVER_TIME + now).toISOString(),
    });
    conn.syncing = sync === true && !resumed;
    if (conn.syncing) this.#snapshot(conn, `relay.${++conn.named}`, false);
  }

  #snapshot(conn, id, catchUp) {
    const list = [...this.orders.values()].map((order) => ({ ...order }));
    const parts = [];
    if (conn.sending?.next > 0) conn.out.push({ type: 'sync_aborted', sync_id: conn.sending.id, reason: 'replaced' });
    conn.mark = undefined;
    for (let n = 0; n === 0 || n < list.length; n += this.part) parts.push(list.slice(n, n + this.part));
    conn.sending = { id, epoch: this.epoch, seq: this.head, parts, next: 0, catchUp };
  }

  #command(conn, frame, now) {
    conn.tokens = Math.min(this.rate.burst, conn.tokens + ((now - conn.filled) * this.rate.rate_per_s) / 1_000);
    conn.filled = now;
    if (conn.tokens < 1) {
      this.refusals.push('rate');
      return void conn.out.push({ type: 'nack', id: frame.id, error: { code: 'rate_limited', message: '', outcome: 'not_applied', retry_after_ms: 1_000 } });
    }
    conn.tokens -= 1;
    // One whose first is being stored waits for it; the relay answers in the order of the store, not of arrival.
    conn.waiting.push(frame);
  }

  /** What becomes durable is answered, in any order. */
  commit(pick) {
    const { conn } = this;
    if (!conn || conn.waiting.length === 0) return;
    const [frame] = conn.waiting.splice(pick(conn.waiting.length), 1);
    const hash = JSON.stringify(frame.payload);
    const before = this.applied.get(frame.id);
    if (before && before.hash !== hash) {
      return void conn.out.push({ type: 'nack', id: frame.id, error: { code: 'id_reused', message: '', outcome: 'not_applied' } });
    }
    if (!before) this.applied.set(frame.id, { hash, seq: this.publish(frame.payload.order, frame.payload.state, frame.id), times: 1 });
    conn.out.push({ type: 'ack', id: frame.id, payload: { epoch: this.epoch, seq: this.applied.get(frame.id).seq } });
  }

  /** One message to the connection, or `undefined`. @param {number} most events of a turn */
  turn(most) {
    const { conn } = this;
    if (!conn) return undefined;
    if (conn.out.length > 0) return JSON.stringify(conn.out.shift());
    if (conn.closed || !conn.live) return undefined;
    const tell = () => {
      if (conn.told >= conn.at) return [];
      const from = conn.told;
      conn.told = conn.at;
      return [{ type: 'cursor', epoch: this.epoch, from, seq: conn.at }];
    };
    const until = conn.sending ? (conn.sending.catchUp ? conn.sending.seq : conn.at) : (conn.mark ?? this.head);
    const frames = [];
    let events = 0;
    while (conn.at < until && events < most) {
      const event = this.log[conn.at];
      if (event.type === 'order:updated') {
        frames.push(...tell());
        frames.push(event);
        conn.told = event.seq;
        events += 1;
      }
      conn.at = event.seq;
    }
    if (frames.length > 0) return JSON.stringify(frames.length > 1 ? frames : frames[0]);
    if (conn.mark !== undefined && conn.at >= conn.mark) {
      conn.out.push(...tell(), { type: 'sync_complete', payload: { status: 'resumed', epoch: this.epoch, seq: conn.mark } });
      conn.mark = undefined;
      conn.syncing = false;
      return JSON.stringify(conn.out.shift());
    }
    if (conn.sending) {
      const { id, epoch, seq, parts, next } = conn.sending;
      conn.sending.next += 1;
      if (conn.sending.next >= parts.length) {
        conn.at = conn.told = seq;
        conn.sending = undefined;
        conn.syncing = false;
      }
      return JSON.stringify({ type: 'sync_complete', payload: { status: 'snapshot', sync_id: id, epoch, seq, part: next + 1, parts: parts.length, orders: parts[next] } });
    }
    if (conn.pinged !== undefined) {
      conn.out.push(...tell(), { type: 'pong', payload: { timestamp: conn.pinged, seq: this.head } });
      conn.pinged = undefined;
      return JSON.stringify(conn.out.shift());
    }
    return undefined;
  }
}

/** One that holds the stream to the rules: a gap, a repeat, an event between the parts of a snapshot, a second answer throw. */
export class Tab {
  position;
  epoch;
  orders = new Map();
  /** Every event it was told, and what snapshots stood in for. */
  told = [];
  pending = new Map();
  answers = new Map();
  trail = [];
  /** Where it was told to go on without the events between. */
  skipped = [];
  live = false;
  ended;
  gaps = 0;
  resumes = 0;
  snapshots = 0;
  pongs = 0;
  #syncs = 0;
  #parts;

  constructor(name, { ends, wantsSet = true }) {
    Object.assign(this, { name, ends, wantsSet });
  }

  auth(now, more = {}) {
    this.live = false;
    this.#parts = undefined;
    this.expiresAt = undefined;
    const resume = this.epoch !== undefined && this.position !== undefined ? { resume: { epoch: this.epoch, seq: this.position } } : {};
    return JSON.stringify({ type: 'auth', token: token(this.ends), restaurant_id: 'grow', protocol: 'tautline.v1', ...resume, ...(this.wantsSet ? { sync: true } : {}), timestamp: now, ...more });
  }

  command(id, order, state) {
    const text = JSON.stringify({ type: 'order:update_status', id, payload: { order, state } });
    this.pending.set(id, text);
    return text;
  }

  sync(full) {
    this.#syncs += 1;
    const payload = full ? { request_full_sync: true } : { epoch: this.epoch, seq: this.position };
    return JSON.stringify({ type: 'orders:sync', id: `sync-${this.#syncs}`, payload });
  }

  hear(text, now) {
    this.trail.push(text);
    if (this.trail.length > 40) this.trail.shift();
    const parsed = JSON.parse(text);
    const frames = Array.isArray(parsed) ? parsed : [parsed];
    assert.ok(frames.length <= 64 && frames.length > 0);
    for (const frame of frames) this.#frame(frame, now);
  }

  #frame(frame, now) {
    const { type } = frame;
    if (!this.live) assert.ok(['connected', 'auth:success', 'auth:failed'].includes(type), `${this.name} heard ${type} before auth:success`);
    if (this.#parts) assert.ok(type !== 'cursor' && !(typeof frame.seq === 'number' && type.startsWith('order:')), `${this.name} heard ${type} between parts`);
    switch (type) {
      case 'auth:success':
        if (frame.renewal) return void (this.renewed = (this.renewed ?? 0) + 1);
        assert.equal(this.live, false);
        this.live = true;
        // What was under way for long says too much, as the relay's own word does.
        this.life = frame.expires_in_ms - (this.ends - SERVER_TIME - now);
        assert.ok(this.life >= -1);
        if (frame.resumed) {
          assert.deepEqual([frame.epoch, frame.seq >= this.position], [this.epoch, true]);
          this.resumes += 1;
          return;
        }
        if (this.position !== undefined) this.gaps += 1;
        this.epoch = frame.epoch;
        if (this.wantsSet) this.position = undefined;
        else this.#jump(frame.seq);
        return;
      case 'cursor':
        assert.equal(frame.epoch, this.epoch);
        assert.ok(this.position !== undefined && frame.from <= this.position && frame.seq > this.position, `${this.name} at ${this.position} heard ${JSON.stringify(frame)}`);
        this.position = frame.seq;
        return;
      case 'order:updated':
        assert.equal(frame.epoch, this.epoch);
        assert.equal(frame.seq, this.position + 1, `${this.name} at ${this.position} heard event ${frame.seq}`);
        this.position = frame.seq;
        this.told.push(frame.seq);
        this.orders.set(frame.payload.order.id, frame.payload.order);
        return;
      case 'reset':
        this.epoch = frame.epoch;
        this.position = this.wantsSet ? undefined : frame.seq;
        this.#parts = undefined;
        this.gaps += 1;
        return;
      case 'sync_complete':
        return this.#synced(frame.payload);
      case 'pong':
        this.pongs += 1;
        this.head = frame.payload.seq;
        return;
      case 'ack':
      case 'nack':
        if (frame.id.startsWith('sync-')) return;
        assert.ok(this.pending.delete(frame.id), `${this.name} heard a second answer to ${frame.id}, or another's`);
        this.answers.set(frame.id, frame);
        return;
      case 'connected':
        this.greeted = (this.greeted ?? 0) + 1;
        return;
      case 'error':
        this.errors = [...(this.errors ?? []), frame.error.code];
        return;
      case 'auth:failed':
      case 'hint':
        return;
      default:
        assert.fail(`${this.name} heard ${JSON.stringify(frame)}`);
    }
  }

  #synced(payload) {
    if (payload.status === 'resumed') {
      assert.deepEqual([payload.epoch, payload.seq <= this.position], [this.epoch, true]);
      this.resumedAt = this.position;
      return;
    }
    const { sync_id, epoch, seq, part, parts, orders } = payload;
    if (part === 1) this.#parts = { sync_id, epoch, seq, parts, orders: [] };
    assert.deepEqual([this.#parts.sync_id, this.#parts.epoch, this.#parts.seq, this.#parts.parts], [sync_id, epoch, seq, parts]);
    this.#parts.orders.push(orders);
    assert.equal(this.#parts.orders.length, part);
    if (part < parts) return;
    const all = this.#parts.orders.flat();
    this.#parts = undefined;
    assert.ok(epoch !== this.epoch || this.position === undefined || seq >= this.position, `${this.name} at ${this.position} was brought back to ${seq}`);
    this.epoch = epoch;
    this.#jump(seq);
    this.snapshots += 1;
    this.orders = new Map(all.map((order) => [order.id, order]));
  }

  #jump(seq) {
    if (this.position !== undefined) this.skipped.push([this.position, seq]);
    else this.began ??= seq;
    this.position = seq;
  }
}

/** One hub, one relay, what is on its way between them, and the tabs. */
export class Rig {
  now = 1_000;
  tabs = new Map();
  /** Those that are attached, each time under another name. */
  ports = new Map();
  up = [];
  down = [];
  writes = [];
  alone = false;
  /** Whether the connection is there; its beginning and end are under way like messages. */
  #open = 0;
  #attached = 0;

  constructor(Hub, options = {}) {
    this.Hub = Hub;
    this.relay = new Relay(options);
    this.hub = new Hub();
  }

  tab(name, options = {}) {
    const tab = new Tab(name, { ends: SERVER_TIME + this.now + 3_600_000, ...options });
    this.tabs.set(name, tab);
    return tab;
  }

  /** A tab connects, or comes back. */
  attach(tab, more) {
    tab.ended = undefined;
    tab.port = `${tab.name}/${(this.#attached += 1)}`;
    this.ports.set(tab.port, tab);
    this.perform(this.hub.attach(tab.port, tab.auth(this.now, more), this.now));
  }

  say(tab, text) {
    this.perform(this.hub.say(tab.port, text, this.now));
  }

  leave(tab, code) {
    tab.live = false;
    tab.ended = { code };
    this.perform(this.hub.leave(tab.port, code, this.now));
    this.ports.delete(tab.port);
  }

  perform(acts) {
    for (const act of acts) {
      if (act.do === 'open') this.up.push({ open: (this.#open += 1) });
      else if (act.do === 'write') this.up.push({ text: act.text });
      else if (act.do === 'shut') {
        this.up.push({ shut: act.code });
        this.down = [];
        this.shutting = true;
      } else if (act.do === 'end') {
        const tab = this.ports.get(act.port);
        assert.ok(tab && !tab.ended, `${act.port} ended twice`);
        this.ports.delete(act.port);
        Object.assign(tab, { ended: act, live: false });
      } else if (act.do === 'send') for (const port of act.ports) this.ports.get(port).hear(act.text, this.now);
      else if (act.do === 'alone') this.alone = true;
      else this.wake = act.at;
    }
  }

  /** Something that is on its way up arrives. */
  rise() {
    const one = this.up.shift();
    if (!one) return false;
    this.writes.push(one);
    if (one.open) {
      this.relay.accept(this.now);
      this.perform(this.hub.opened(this.now));
    } else if (one.shut) this.relay.drop();
    else if (this.relay.conn) this.relay.hear(one.text, this.now);
    return true;
  }

  /** The relay has its turn. */
  fall(most = 64) {
    if (this.up.some(({ open, shut }) => open || shut)) return false;
    const text = this.relay.turn(most);
    if (text !== undefined) this.perform(this.hub.hear(text, this.now));
    else if (this.relay.conn?.closed) this.lose(...this.relay.conn.closed);
    else return false;
    return true;
  }

  /** The connection to the relay is lost. */
  lose(code = 1006, reason = '') {
    if (!this.relay.conn || this.up.some(({ open, shut }) => open || shut)) return;
    this.relay.drop();
    this.up = [];
    this.perform(this.hub.closed(code, reason, this.now));
  }

  /** Time passes. What leaves evenly arrives so: only then nothing is too soon for the relay. */
  pass(ms) {
    const until = this.now + ms;
    while (this.rise());
    while (this.wake !== undefined && this.wake <= until) {
      this.now = Math.max(this.now, this.wake);
      this.wake = undefined;
      this.perform(this.hub.tick(this.now));
      while (this.rise());
    }
    this.now = until;
  }

  /** The tab that ran the hub is dead: another runs it, with what it has seen itself. */
  hand(seen) {
    this.up = [];
    this.relay.drop();
    this.wake = undefined;
    this.hub = new this.Hub(seen);
    for (const tab of this.ports.values()) Object.assign(tab, { ended: { code: 4104 }, live: false });
    this.ports.clear();
  }

  /** Until nothing is under way any more; commands become durable in order. */
  quiet() {
    for (let n = 0; n < 10_000; n += 1) {
      this.relay.commit(() => 0);
      if (!this.rise() && !this.fall()) return;
    }
    assert.fail('there is no end');
  }
}
