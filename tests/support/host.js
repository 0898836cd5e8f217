// What the TypeScript layer is to the module, in small: the error class, the ledger, the console. And the browser's
// own functions, patched to count what is live, so that the ledger can be held against the truth.

import { Audience } from './audience.js';
import { Emitter } from './emitter.js';
import { Receiver } from './receiver.js';
import { same as saysTheSame } from './same.js';
import { OutboxStorage } from './storage.js';

const book = new Map();
let next = 1;
/** What was reported, warned of, and panicked. */
export const heard = { errors: [], warnings: [], panics: [] };

export class TautlineError extends Error {
  constructor(code, message, fields = {}) {
    super(fields.cause ? `${message} (${fields.cause})` : message);
    this.code = code;
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) this[name] = value;
  }
}

export function makeHost() {
  patch();
  return {
    error: (code, message, fields) => new TautlineError(code, message, fields),
    warn: (text) => void heard.warnings.push(text),
    // What the browser calls in the module's place, so that a trap does not go unnoticed.
    shield: (inner) =>
      function shielded(...args) {
        try {
          return inner.apply(this, args);
        } catch (error) {
          if (error instanceof WebAssembly.RuntimeError && heard.panics.length === 0) release(String(error));
          throw error;
        }
      },
    same: saysTheSame,
    receiver: (exports, number, tell) => new Receiver(exports, number, tell, () => heard.panics.length > 0),
    panic: release,
    twin: {
      enter(kind, owner, release) {
        if (typeof release !== 'function') throw new TypeError(`${kind} without a release function`);
        book.set(next, { kind, owner, release });
        return next++;
      },
      leave: (id) => void book.delete(id),
    },
  };
}

/** The module is dead: everything is let go of without it. */
function release(message) {
  heard.panics.push(message);
  for (const { release } of [...book.values()].reverse()) release();
  book.clear();
}

/** The ledger: how many of each kind. */
export function ledger() {
  const counts = {};
  for (const { kind } of book.values()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

export const ledgerList = () => [...book.values()].map(({ kind, owner }) => `${kind} ${owner}`);

const real = { setTimeout: globalThis.setTimeout.bind(globalThis), clearTimeout: globalThis.clearTimeout.bind(globalThis) };
const live = { timers: new Map(), listeners: new Map(), sockets: new Set(), fetches: new Set(), peers: new Set(), channels: new Set(), tracks: new Set(), contexts: new Set(), worklets: new Set() };
let patched = false;
/** Whether what is made now is the module's: what the tests make themselves is not counted. */
let ours = 0;

/** Runs something of the test's own without counting it. */
export function uncounted(run) {
  ours += 1;
  try {
    return run();
  } finally {
    ours -= 1;
  }
}

function patch() {
  if (patched) return;
  patched = true;
  globalThis.setTimeout = (then, ms, ...rest) => {
    if (ours) return real.setTimeout(then, ms, ...rest);
    const id = real.setTimeout(() => {
      live.timers.delete(id);
      then(...rest);
    }, ms);
    live.timers.set(id, ms);
    return id;
  };
  globalThis.clearTimeout = (id) => {
    live.timers.delete(id);
    real.clearTimeout(id);
  };
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  const keys = new WeakMap();
  const keyOf = (object) => {
    if (!keys.has(object)) keys.set(object, next++);
    return keys.get(object);
  };
  const key = (target, type, listener) => `${keyOf(target ?? globalThis)} ${type} ${listener ? keyOf(listener) : 0}`;
  EventTarget.prototype.addEventListener = function (type, listener, options) {
    if (!ours) live.listeners.set(key(this, type, listener), type);
    return addEventListener.call(this, type, listener, options);
  };
  EventTarget.prototype.removeEventListener = function (type, listener, options) {
    live.listeners.delete(key(this, type, listener));
    return removeEventListener.call(this, type, listener, options);
  };
  globalThis.WebSocket = class extends WebSocket {
    constructor(...args) {
      super(...args);
      live.sockets.add(this);
      addEventListener.call(this, 'close', () => live.sockets.delete(this));
    }
  };
  patchMedia();
  const { fetch } = globalThis;
  globalThis.fetch = (...args) => {
    const promise = fetch(...args);
    if (ours) return promise;
    live.fetches.add(promise);
    const done = () => live.fetches.delete(promise);
    promise.then(done, done);
    return promise;
  };
}

/** Calls: peer connections, channels, audio contexts and worklets' ports until closed, tracks of microphones until stopped. */
function patchMedia() {
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...args) {
      super(...args);
      if (!ours) live.peers.add(this);
    }
    createDataChannel(...args) {
      const channel = super.createDataChannel(...args);
      const close = channel.close.bind(channel);
      if (!ours) live.channels.add(channel);
      channel.close = () => {
        live.channels.delete(channel);
        close();
      };
      return channel;
    }
    close() {
      live.peers.delete(this);
      super.close();
    }
  };
  const { mediaDevices } = navigator;
  const getUserMedia = mediaDevices.getUserMedia.bind(mediaDevices);
  mediaDevices.getUserMedia = async (constraints) => {
    const counted = !ours;
    const stream = await getUserMedia(constraints);
    for (const track of counted ? stream.getTracks() : []) {
      live.tracks.add(track);
      track.stop = () => {
        live.tracks.delete(track);
        MediaStreamTrack.prototype.stop.call(track);
      };
    }
    return stream;
  };
  globalThis.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(...args) {
      super(...args);
      if (ours) return;
      live.worklets.add(this);
      const { port } = this;
      port.close = () => {
        live.worklets.delete(this);
        MessagePort.prototype.close.call(port);
      };
    }
  };
  globalThis.AudioContext = class extends AudioContext {
    constructor(...args) {
      super(...args);
      if (!ours) live.contexts.add(this);
    }
    close() {
      live.contexts.delete(this);
      return super.close();
    }
  };
}

/** The truth: how many of each kind are live in the browser. */
export function browser() {
  return Object.fromEntries(Object.entries(live).map(([kind, of]) => [kind, of.size]));
}

export const browserList = () => [...live.timers.values()].map((ms) => `timer ${ms}`).concat([...live.listeners.values()].map((type) => `listener ${type}`));

/** Waits until `condition` answers something true, at most `ms`. */
export async function until(what, condition, ms = 20_000) {
  const end = performance.now() + ms;
  for (;;) {
    const answer = await condition();
    if (answer) return answer;
    if (performance.now() > end) throw new Error(`not within ${ms} ms: ${what} (ledger ${JSON.stringify(ledger())}, browser ${JSON.stringify(browser())})`);
    await pause(5);
  }
}

/** A pause between two looks. */
export const pause = (ms) => new Promise((resolve) => real.setTimeout(resolve, ms));

/** Nothing is live, on the ledger or in the browser. */
export async function nothingLive() {
  const total = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);
  await until(
    'nothing live',
    () => {
      if (total(ledger()) + total(browser()) === 0) return true;
      return false;
    },
    10_000,
  ).catch((error) => {
    throw new Error(`${error.message}: ${[...ledgerList(), ...browserList()].join('; ')}`);
  });
}

export function same(actual, expected, what = 'value') {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: got ${a}, expected ${b}`);
}

export function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`);
}

/** What a promise is rejected with. */
export async function rejection(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`not rejected but resolved with ${JSON.stringify(value)}`);
}

const unhandled = [];
uncounted(() => globalThis.addEventListener('unhandledrejection', (event) => unhandled.push(event.reason)));
/** No rejection went unhandled. */
export async function noneUnhandled() {
  await pause(20);
  if (unhandled.length) throw new Error(`unhandled: ${unhandled.splice(0).map(String).join('; ')}`);
}

const made = [];

/** An emitter as an object of the layer's has it; `errors()` is the one whose `error` hears what callbacks throw. */
function emitter(errors) {
  const failed = (cause, event) => {
    const error = new TautlineError('callback', 'a callback failed', { cause });
    if (event === 'error' || !errors().emit('error', error)) heard.errors.push(error);
  };
  return new Emitter({ named: () => 'test', failed, warn: (text) => void heard.warnings.push(text), full: (text) => new Error(text), changed() {} });
}

/** What listens to each service, for what is made on it. */
const eventsOf = new WeakMap();

/** What a service's outbox is kept by. */
function storageOf(service, tell, url, restaurantId) {
  const { enter, leave } = makeHost().twin;
  const live = (call) => service().__wbg_ptr !== 0 && call(service());
  return new OutboxStorage(
    {
      enter,
      leave,
      error: (code, message, fields) => new TautlineError(code, message, fields),
      failed: (error) => tell('error', error),
      stored: (...given) => live((one) => one.stored(...given)),
      adopted: (...given) => live((one) => one.adopted(...given)),
      changed: () => tell('outbox'),
    },
    typeof url === 'string' ? url : undefined,
    restaurantId,
  );
}

/** What the layer lays over the module's objects for whoever listens: as little as the scenarios need. */
const layer = {
  WebSocketService(Class, [config, url, getToken]) {
    const events = emitter(() => events);
    const subscribers = emitter(() => events);
    const audience = new Audience(events, subscribers);
    const tell = (event, value) => {
      audience.changed();
      if (storage?.heard(event, value)) return;
      if (event === 'message') audience.deliver(value);
      else if (event === 'outbox') audience.outboxChanged();
      else if (!events.emit(event, value) && event === 'error') heard.errors.push(value);
    };
    const storage = config.outboxStored && storageOf(() => service, tell, url, config.restaurantId);
    const service = new Class(config, url, getToken, tell);
    eventsOf.set(service, events);
    storage?.begin();
    return Object.assign(service, {
      storage,
      on: (event, callback, once) => events.add(event, callback, once),
      off: (event, callback) => events.off(event, callback),
      listenerCount: (event) => events.count(event),
      subscribe: (pattern, callback) => audience.subscribe(pattern, callback),
      onOutbox: (callback) => audience.onOutbox(callback),
      unsubscribe: (off) => off(),
      dispose() {
        Class.prototype.dispose.call(service);
        storage?.end();
        for (const each of [events, subscribers]) each.clear();
      },
    });
  },
  WebSocketPool(Class, [config, urls, getToken, { maxConnections = 5, balancing = 0, failover = true, checkMs = 5_000, queue = 100 }]) {
    const events = emitter(() => events);
    const subscribers = emitter(() => events);
    const audience = new Audience(events, subscribers);
    const tell = (event, value) => {
      if (!events.emit(event, value) && event === 'error') heard.errors.push(value);
    };
    const brings = urls.map((_, member) => (_, message) => {
      audience.changed();
      if (pool.__wbg_ptr !== 0 && pool.takes(member, message.seq ?? -1)) audience.deliver(message);
    });
    const pool = new Class(config, urls, getToken, tell, brings, maxConnections, balancing, failover, checkMs, queue);
    return Object.assign(pool, {
      on: (event, callback, once) => events.add(event, callback, once),
      subscribe: (pattern, callback) => audience.subscribe(pattern, callback),
      dispose() {
        Class.prototype.dispose.call(pool);
        for (const each of [events, subscribers]) each.clear();
      },
    });
  },
  OrderUpdates(Class, [service]) {
    const events = emitter(() => eventsOf.get(service));
    const orders = new Class(service, (event, value) => void events.emit(event, value));
    return Object.assign(orders, {
      onOrders: (callback) => events.add('orders', callback, false),
      onOrderUpdate(callback) {
        orders.watch(true);
        return events.add('update', callback, false);
      },
      unsubscribe: (off) => off(),
      dispose() {
        Class.prototype.dispose.call(orders);
        events.clear();
      },
    });
  },
};

/** The classes, remembering what is made of them. */
export function remembered({ memoryBytes, ...classes }) {
  const each = Object.entries(classes).map(([name, Class]) => [
    name,
    new Proxy(Class, {
      construct(target, args) {
        const object = layer[name]?.(target, args) ?? Reflect.construct(target, args);
        made.push(object);
        return object;
      },
    }),
  ]);
  return { ...Object.fromEntries(each), memoryBytes };
}

/** Ends what a scenario that failed has left, so that the next one starts from nothing. */
export async function cleared() {
  const left = made.splice(0);
  if (heard.panics.length > 0) return;
  for (const object of left) if (object.__wbg_ptr !== 0) object.dispose();
  await nothingLive().catch(() => {});
}
