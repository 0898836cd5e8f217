// In the page: from `connect()` to a session that has confirmed its settings.

import init, { VoiceConnection } from 'tautline';
import { RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';

/** Each with its code loaded and its key at hand; what is measured is the call. */
const clients = {
  async tautline({ relay, token }) {
    const call = new VoiceConnection({ relay, restaurantId: 'bench', session: { instructions: 'Take the order.' }, getToken: () => token });
    const began = performance.now();
    await call.connect();
    const ms = performance.now() - began;
    await call.disconnect();
    call.dispose();
    return ms;
  },
  async agents({ relay, secret }) {
    const session = new RealtimeSession(new RealtimeAgent({ name: 'bench', instructions: 'Take the order.' }), { transport: 'webrtc', tracingDisabled: true });
    const began = performance.now();
    await session.connect({ apiKey: secret, url: `${relay}/v1/realtime/calls` });
    const ms = performance.now() - began;
    session.close();
    return ms;
  },
  /** What the browser alone takes: a microphone, an offer, its answer, and the channel with its first event. */
  async bare({ relay, token }) {
    const began = performance.now();
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
    const ms = performance.now() - began;
    peer.close();
    stream.getTracks().forEach((track) => track.stop());
    return ms;
  },
};

await init();
window.bench = {
  call: (name, keys) => clients[name](keys),
  ready: true,
};
