// The life of one object, all of it drawn from a seed: what it is, what goes wrong, when and how it ends. And what the browser
// itself says is left of all of them.

import { chance } from './chance.js';
import { ConnectionManager, OrderUpdates, resources, VoiceConnection, WebSocketService } from '/dist/index.js';

const KINDS = ['service', 'orders', 'webrtc', 'websocket'];
const TROUBLES = ['nothing', 'nothing', 'refused', 'cut', 'token', 'microphone', 'abort'];
const ENDS = ['disposed', 'disconnected', 'forgotten', 'forgotten at rest'];
/** Time until an object is ended, ms: at once, in the middle of its connect, or when it is long connected. */
const LATEST = 250;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const quietly = (promise) => promise.catch(() => {});

/** A tab in which nobody allows this microphone. */
const REFUSED = 'refused';
const { mediaDevices } = navigator;
const ask = mediaDevices.getUserMedia.bind(mediaDevices);

// What is live, by the browser's own word; held weakly, or this itself would be what is left.
const made = { sockets: [], peers: [], tracks: [], contexts: [] };
let contexts = 0;
const over = {
  sockets: ({ readyState }) => readyState === WebSocket.CLOSED,
  peers: ({ connectionState }) => connectionState === 'closed',
  tracks: ({ readyState }) => readyState === 'ended',
  contexts: ({ state }) => state === 'closed',
};
for (const [name, kind] of [['WebSocket', 'sockets'], ['RTCPeerConnection', 'peers'], ['AudioContext', 'contexts']]) {
  const Original = globalThis[name];
  globalThis[name] = class extends Original {
    constructor(...given) {
      super(...given);
      made[kind].push(new WeakRef(this));
      if (kind === 'contexts') contexts += 1;
    }
  };
}
mediaDevices.getUserMedia = async (constraints) => {
  if (constraints.audio?.deviceId?.exact === REFUSED) throw new DOMException('not here', 'NotAllowedError');
  const stream = await ask(constraints);
  made.tracks.push(...stream.getTracks().map((track) => new WeakRef(track)));
  return stream;
};

const there = (kind) => made[kind].map((ref) => ref.deref()).filter((object) => object !== undefined);
const counted = (counts) => Object.fromEntries(counts.filter(([, count]) => count > 0));

/** How many are live of each, on the ledger and by the browser's word. */
export function live() {
  const browser = Object.keys(made).map((kind) => [kind, there(kind).filter((object) => !over[kind](object)).length]);
  return counted([...Object.entries(resources.counts()), ...browser]);
}

/** How many the collector has not taken, over as they are. */
export function uncollected() {
  for (const kind of Object.keys(made)) made[kind] = made[kind].filter((ref) => ref.deref() !== undefined);
  return { contexts: 0, peers: 0, ...counted(Object.entries(made).map(([kind, { length }]) => [kind, length])), contextsMade: contexts };
}

// The inspector keeps what the console was told; only how often is wanted here.
let reported = {};
console.warn = (text) => {
  const name = text.match(/^tautline: a (\w+) was (forgotten|never)/)?.[1] ?? text;
  reported[name] = (reported[name] ?? 0) + 1;
};
console.error = () => {};

/** What was reported since it was last asked. */
export function takeReported() {
  const taken = reported;
  reported = {};
  return taken;
}

export const wasmBytes = () => resources.memory().wasmBytes;

/** Makes an object, lets it live and ends it; answers what it was. */
export async function life(seed, { relay, refused, restaurantId }) {
  const random = chance(seed);
  const pick = (list) => list[Math.floor(random() * list.length)];
  const [kind, trouble, end] = [pick(KINDS), pick(TROUBLES), pick(ENDS)];
  const moment = Math.floor(random() ** 2 * LATEST);
  const badToken = pick([() => 'no-token', () => Promise.reject(new Error('no token')), () => null]);
  const getToken = trouble === 'token' ? badToken : () => window.getToken();
  const address = trouble === 'refused' ? refused : relay;
  const controller = new AbortController();
  const { signal } = controller;
  const isCall = kind === 'webrtc' || kind === 'websocket';

  const others = [];
  let object;
  let connecting;
  if (isCall) {
    object = new VoiceConnection({
      relay: address, restaurantId, getToken, transport: kind, connectTimeoutMs: 3_000, maxReconnectAttempts: 1,
      fallback: pick(['none', 'websocket']),
      ...(trouble === 'microphone' ? { microphone: { deviceId: { exact: REFUSED } } } : {}),
    });
    if (random() < 0.2) others.push(quietly(object.setupMicrophone()));
    connecting = object.connect(undefined, { signal });
  } else {
    object = new WebSocketService({
      url: `${address.replace('http', 'ws')}/ws`, restaurantId, getToken, connectTimeout: 3_000, reconnectInterval: 20, maxReconnectDelay: 100,
      maxReconnectAttempts: 3, outboxStorage: seed % 2 ? 'indexeddb' : 'memory',
    });
    connecting = object.connect({ signal });
    if (kind === 'orders') {
      const orders = new OrderUpdates(object);
      orders.initialize();
      others.push(quietly(new ConnectionManager(object, { lingerMs: Math.floor(random() * 50) }).connect()));
      if (end !== 'forgotten') orders.onOrders(() => orders.orders());
    }
  }
  // Listeners that lead to the object itself: with them it goes when it is at rest only.
  if (end !== 'forgotten') {
    object.on('error', () => object.getConnectionState());
    if (!isCall) object.subscribe('*', () => object.stats());
  }
  quietly(connecting);

  if (random() < 0.3) await quietly(connecting);
  if (trouble === 'cut') await window.cut(isCall);
  if (moment > 0) await pause(moment);
  if (trouble === 'abort') controller.abort();
  // Something under way when it ends.
  try {
    if (isCall) object.send({ type: 'response.create' });
    else quietly(object.send('note', { seed }, { ttlMs: 500 }).done);
  } catch {
    // It is not connected, or over.
  }
  if (end === 'disposed') object.dispose();
  if (end === 'disconnected') {
    object.disconnect();
    object.dispose();
  }
  if (end === 'forgotten at rest') object.disconnect();
  return { kind, trouble, end };
}
