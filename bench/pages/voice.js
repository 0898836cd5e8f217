// In the page: from `connect()` to a session that has confirmed its settings.

import init, { VoiceConnection } from 'tautline';
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';

/** When the browser was asked for what, since the call began; whoever asks. */
let began = 0;
let steps = {};
const begin = () => {
  steps = {};
  began = performance.now();
};
const reached = (step) => (steps[step] ??= performance.now() - began);
const { mediaDevices } = navigator;
const { getUserMedia } = mediaDevices;
mediaDevices.getUserMedia = async (constraints) => {
  const stream = await getUserMedia.call(mediaDevices, constraints);
  reached('microphone');
  return stream;
};
const { fetch: request } = globalThis;
globalThis.fetch = async (...given) => {
  reached('offer');
  const answer = await request(...given);
  reached('answer');
  return answer;
};
const { send } = RTCDataChannel.prototype;
RTCDataChannel.prototype.send = function (text) {
  reached('channel');
  return send.call(this, text);
};

/** Each with its code loaded and its key at hand; what is measured is the call. */
const clients = {
  async tautline({ relay, token }) {
    const call = new VoiceConnection({ relay, restaurantId: 'bench', session: { instructions: 'Take the order.' }, getToken: () => token });
    begin();
    await call.connect();
    reached('ms');
    const took = steps;
    await call.disconnect();
    call.dispose();
    return took;
  },
  async agents({ relay, secret }) {
    const session = new RealtimeSession(new RealtimeAgent({ name: 'bench', instructions: 'Take the order.' }), { transport: 'webrtc', tracingDisabled: true });
    begin();
    await session.connect({ apiKey: secret, url: `${relay}/v1/realtime/calls` });
    reached('ms');
    session.close();
    return steps;
  },
  /** What the browser alone takes: a microphone, an offer, its answer, and the channel with its first event. */
  async bare({ relay, token }) {
    begin();
    const peer = new RTCPeerConnection();
    const channel = peer.createDataChannel('oai-events');
    const updated = new Promise((resolve) => {
      channel.onopen = () => channel.send(JSON.stringify({ type: 'session.update', session: { type: 'realtime', instructions: 'Take the order.' } }));
      channel.onmessage = ({ data }) => JSON.parse(data).type === 'session.updated' && resolve();
    });
    const stream = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
    peer.addTrack(stream.getAudioTracks()[0], stream);
    await peer.setLocalDescription();
    const answer = await fetch(`${relay}/v1/realtime/calls`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/sdp' }, body: peer.localDescription.sdp });
    await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    await updated;
    reached('ms');
    peer.close();
    stream.getTracks().forEach((track) => track.stop());
    return steps;
  },
};

/** What is said back is loud enough to be heard. */
const heard = (call) => new Promise((resolve) => {
  const off = call.on('level', ({ output }) => {
    if (output < 0.05) return;
    off();
    resolve();
  });
});

/** Elements that were asked to play: an answer is heard by one, over either transport. */
const elements = new Set();
const { play } = HTMLMediaElement.prototype;
HTMLMediaElement.prototype.play = function () {
  elements.add(this);
  return play.call(this);
};
/** Peer connections and sockets, and when sound last left each. */
const peers = new Set();
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...given) {
    super(...given);
    peers.add(this);
  }
};
const appended = new Map();
const { send: write } = WebSocket.prototype;
WebSocket.prototype.send = function (text) {
  if (typeof text === 'string' && text.includes('input_audio_buffer.append')) saw(appended, this);
  return write.call(this, text);
};

/** Something of an object moved just now: when that was first, and last. */
function saw(times, object) {
  const now = performance.now();
  const { first = now } = times.get(object) ?? {};
  times.set(object, { first, last: now });
}

/** Looks all the time at what moves: the played time of elements, the packets of senders. Until `stop`. */
async function watch(stopped) {
  const [played, spoken, at] = [new Map(), appended, new Map()];
  const moved = (times, object, value) => {
    if (value > (at.get(object) ?? 0)) saw(times, object);
    at.set(object, value);
  };
  // A task of its own at once: timers wait four milliseconds.
  const { port1, port2 } = new MessageChannel();
  const turn = () => new Promise((resolve) => {
    port1.onmessage = resolve;
    port2.postMessage(0);
  });
  while (!stopped()) {
    for (const element of elements) if (!element.paused) moved(played, element, element.currentTime);
    for (const peer of peers) {
      if (peer.connectionState === 'closed') continue;
      for (const report of (await peer.getStats()).values()) if (report.type === 'outbound-rtp') moved(spoken, peer, report.packetsSent);
    }
    await turn();
  }
  port1.close();
  return { played, spoken };
}

/** From the last that moved of one to the first of the next; none where they overlap. */
function gaps(times) {
  const all = [...times.values()].sort((one, other) => one.first - other.first);
  return all.slice(1).map(({ first }, before) => Math.max(0, first - all[before].last));
}

await init();
window.bench = {
  call: (name, keys) => clients[name](keys),
  /** A call that hears itself: the microphone beeps, and what is said back is measured. */
  async hold({ relay, token }) {
    const call = new VoiceConnection({ relay, restaurantId: 'bench', getToken: () => token });
    window.bench.held = call;
    await call.connect();
    await heard(call);
  },
  /** From now on: how long until the call is lost, is there again, and is heard again. */
  async back() {
    const { held } = window.bench;
    const cutAt = performance.now();
    const reaches = (state) => new Promise((resolve) => {
      const off = held.on('connection.change', (now) => {
        if (now !== state) return;
        off();
        resolve(performance.now() - cutAt);
      });
    });
    const [lost, there] = [reaches('reconnecting'), reaches('connected')];
    window.bench.lost = lost;
    const times = { lost: await lost, there: await there };
    await heard(held);
    return { ...times, heard: performance.now() - cutAt };
  },
  end: () => window.bench.held.dispose(),
  /** A call that outlives so many sessions: for each, how long nothing was played, and how long nobody heard the microphone. */
  async rollovers({ relay, token }, transport, times) {
    const call = new VoiceConnection({ relay, restaurantId: 'bench', transport, getToken: () => token, session: { audio: { input: { turn_detection: null } } } });
    let left = times;
    let after = () => {};
    const done = new Promise((resolve) => (after = resolve));
    await call.connect();
    for (const set of [elements, peers]) for (const one of set) if (one.paused || one.connectionState === 'closed') set.delete(one);
    appended.clear();
    let over = false;
    const watching = watch(() => over);
    call.on('rollover', () => {
      left -= 1;
      // As long as the new one may take to be heard.
      if (left === 0) setTimeout(after, 1_000);
    });
    await done;
    over = true;
    const { played, spoken } = await watching;
    call.dispose();
    return { played: gaps(played), spoken: gaps(spoken) };
  },
  ready: true,
};
