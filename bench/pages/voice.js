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
  ready: true,
};
