// Pages that share, each with its seat: the lock passes on when its holder dies, and is stolen from one that does not run. Locks and
// sockets are made here; channels are Node's.
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { resources } from '../dist/resources.js';
import { Seat } from '../dist/share-seat.js';
import { Relay, SERVER_TIME, Tab } from './share-model.mjs';

/** The browser's lock manager, for many pages at once; `frozen` are the names of what stands still, and holds what it has. */
class Locks {
  queues = new Map();

  request(name, { steal, signal }, hold) {
    return new Promise((resolve, reject) => {
      const queue = this.queues.get(name) ?? [];
      this.queues.set(name, queue);
      const one = { hold, resolve, reject, held: false };
      if (steal && queue[0]?.held) queue.shift().reject(new DOMException('stolen', 'AbortError'));
      if (steal) queue.unshift(one);
      else queue.push(one);
      signal?.addEventListener('abort', () => {
        if (one.held || !queue.includes(one)) return;
        queue.splice(queue.indexOf(one), 1);
        reject(new DOMException('aborted', 'AbortError'));
        this.#grant(queue);
      });
      this.#grant(queue);
    });
  }

  #grant(queue) {
    const [first] = queue;
    if (!first || first.held) return;
    first.held = true;
    queueMicrotask(async () => {
      const value = await first.hold({});
      if (queue[0] !== first) return;
      queue.shift();
      first.resolve(value);
      this.#grant(queue);
    });
  }

  async query() {
    await new Promise((resolve) => setImmediate(resolve));
    return {};
  }
}

let relay;
let sockets;
/** A relay at the other end of every socket: each has its own connection to it. */
class Socket {
  readyState = 0;

  constructor() {
    sockets.push(this);
    setImmediate(() => {
      if (this.readyState !== 0) return;
      this.readyState = 1;
      const before = relay.conn;
      assert.ok(!before, 'there is one connection at a time');
      relay.accept(performance.now());
      this.conn = relay.conn;
      this.onopen();
    });
  }

  send(text) {
    if (relay.conn === this.conn) relay.hear(text, performance.now());
  }

  close(code) {
    if (this.readyState > 1) return;
    this.readyState = 3;
    if (relay.conn === this.conn) relay.drop();
    setImmediate(() => this.onclose({ code, reason: '' }));
  }

  /** It is open to the last: whoever held it has let go of it. */
  cut() {
    this.close(1006);
  }
}

const originals = { WebSocket: globalThis.WebSocket, locks: Object.getOwnPropertyDescriptor(globalThis, 'navigator') };
let pages = [];
let turning;

function begin() {
  relay = new Relay();
  sockets = [];
  pages = [];
  globalThis.WebSocket = Socket;
  Object.defineProperty(globalThis, 'navigator', { configurable: true, value: { locks: new Locks() } });
  turning = setInterval(() => {
    relay.commit(() => 0);
    const open = sockets.find((socket) => socket.readyState === 1 && socket.conn === relay.conn && relay.conn);
    for (let text; open && (text = relay.turn(64)) !== undefined; ) open.onmessage({ data: text });
  }, 2);
}

afterEach(async () => {
  for (const page of pages) page.end();
  clearInterval(turning);
  await until(() => sockets.every(({ readyState }) => readyState === 3) && Object.values(resources.counts()).every((count) => count === 0), 'nothing is left');
  globalThis.WebSocket = originals.WebSocket;
  if (originals.locks) Object.defineProperty(globalThis, 'navigator', originals.locks);
});

async function until(holds, what) {
  for (const deadline = performance.now() + 10_000; !holds(); ) {
    assert.ok(performance.now() < deadline, `in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A page with one tab's connection, which comes back when it is handed over. */
class Page {
  tab;
  seat;
  roles = [];
  ends = [];
  closed = false;

  constructor(name) {
    this.tab = new Tab(name, { ends: SERVER_TIME + performance.now() + 3_600_000 });
    this.seat = new Seat('tautline:share:test', 'ws://relay/ws', [], () => {});
    pages.push(this);
    this.#join();
  }

  #join() {
    const trail = [];
    this.sharer = {
      auth: this.tab.auth(performance.now()),
      trail,
      role: (role) => void this.roles.push(role),
      hear: (text) => {
        trail.push(text);
        this.tab.hear(text, performance.now());
      },
      alone: () => {},
      end: (code) => {
        this.tab.live = false;
        this.ends.push(code);
        if (!this.closed && code === 4104) queueMicrotask(() => !this.closed && this.#join());
      },
    };
    this.port = this.seat.join(this.sharer);
  }

  say(text) {
    this.seat.say(this.port, text);
  }

  end() {
    this.closed = true;
    this.seat.leave(this.port, 1000);
  }
}

const live = (...all) => until(() => all.every(({ tab }) => tab.live && tab.position === relay.head), 'all are where the log is');
const leaders = (all) => all.filter(({ seat }) => seat.role === 'leader').length;

test('five pages, one socket; each is told what happens, and its own answers', async () => {
  begin();
  const all = Array.from({ length: 5 }, (_, n) => new Page(`p${n}`));
  await live(...all);
  assert.deepEqual([leaders(all), sockets.length], [1, 1]);
  for (let n = 0; n < 30; n += 1) relay.publish('o', `s${n}`);
  for (const [n, page] of all.entries()) page.say(page.tab.command(`c${n}`, 'o', `c${n}`));
  await until(() => all.every(({ tab }) => tab.pending.size === 0), 'answers');
  await live(...all);
  for (const { tab } of all) assert.deepEqual(tab.told, Array.from({ length: 35 }, (_, n) => n + 1));
});

test('the leader goes: the next leads, and all go on where they were, again and again', async () => {
  begin();
  const all = Array.from({ length: 5 }, (_, n) => new Page(`p${n}`));
  await live(...all);
  while (all.length > 1) {
    const leader = all.splice(all.findIndex(({ seat }) => seat.role === 'leader'), 1)[0];
    leader.end();
    relay.publish('o', `left ${all.length}`);
    await live(...all);
    assert.deepEqual([leaders(all), relay.refusals], [1, []]);
    for (const { tab } of all) assert.deepEqual([tab.told, tab.gaps], [Array.from({ length: relay.head }, (_, n) => n + 1), 0]);
  }
});

/** Until it is stopped, such messages are lost. */
function lose(is, from) {
  const lost = [];
  const { postMessage } = BroadcastChannel.prototype;
  BroadcastChannel.prototype.postMessage = function (message) {
    if (message.is === is && (from === undefined || message.from === from)) lost.push(message);
    else postMessage.call(this, message);
  };
  return { lost, stop: () => void (BroadcastChannel.prototype.postMessage = postMessage) };
}

test('a leader that does not answer is robbed by one of the others, and follows it', async () => {
  begin();
  const all = Array.from({ length: 4 }, (_, n) => new Page(`p${n}`));
  await live(...all);
  const leader = all.find(({ seat }) => seat.role === 'leader');
  const others = all.filter((page) => page !== leader);
  const answers = lose('here');
  const began = performance.now();
  relay.drop();
  relay.publish('o', 'meanwhile');
  try {
    await live(...others);
    assert.ok(answers.lost.length >= 3, 'it was asked three times');
    assert.ok(performance.now() - began < 5_000);
    assert.equal(leaders(others), 1);
  } finally {
    answers.stop();
  }
  await live(...all);
  for (const { tab } of all) assert.deepEqual([tab.told, tab.gaps], [[1], 0]);
  assert.deepEqual([leaders(all), leader.seat.role], [1, 'follower']);
});

test('a page that is gone without a word is known by its lock', async () => {
  begin();
  const [one, two] = [new Page('one'), new Page('two')];
  await live(one, two);
  const dead = [one, two].find(({ seat }) => seat.role === 'follower');
  const mailbox = lose('leave');
  dead.end();
  mailbox.stop();
  pages = pages.filter((page) => page !== dead);
  // Its mailbox goes when its lock has.
  await until(() => resources.counts().channel === 2, 'the leader has let go of it');
});

test('a page that does not take what it is sent is ended as a slow consumer; the others hear everything', async () => {
  begin();
  const [one, two, three] = [new Page('one'), new Page('two'), new Page('three')];
  await live(one, two, three);
  const slow = [two, three].find(({ seat }) => seat.role === 'follower');
  const words = lose('took', slow.port.slice(0, slow.port.indexOf('/')));
  try {
    for (let n = 0; n < 20; n += 1) {
      relay.publish('o', `${n}`.repeat(500_000));
      await until(() => one.tab.position === relay.head, 'one has it');
    }
    await until(() => slow.ends.includes(4008), 'it is ended');
  } finally {
    words.stop();
  }
  for (const page of [one, two, three]) if (page !== slow) await live(page);
});
