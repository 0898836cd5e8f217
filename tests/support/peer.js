// The other side of a call, in the same page: real WebRTC behind a stubbed `fetch`. It sends back what it hears, answers
// `session.update`, and lets a test stall it, refuse, say anything.

import { uncounted, until } from './host.js';

const CALLS = 'https://voice.example/v1/realtime/calls';

export class Peer {
  /** Requests, tokens and events as they came. */
  posts = [];
  hangups = [];
  events = [];
  calls = [];
  /** What an offer is answered with in place of an answer. */
  refusal = undefined;
  /** The stage at which it does nothing more. */
  stall = undefined;
  /** What a `session.update` is answered with; `undefined`: what was asked for. */
  session = undefined;
  onEvent = () => {};
  #fetch = globalThis.fetch;

  constructor() {
    globalThis.fetch = (input, init) => {
      const url = String(input instanceof Request ? input.url : input);
      if (!url.startsWith(CALLS)) return this.#fetch(input, init);
      if (url.endsWith('/hangup')) {
        this.hangups.push({ url, token: init.headers.authorization, keepalive: init.keepalive });
        return Promise.resolve(new Response(null, { status: 200 }));
      }
      return this.#answer(url, init);
    };
  }

  async #answer(url, init) {
    this.posts.push({ url, token: init.headers.authorization, type: init.headers['content-type'], body: init.body, signal: init.signal });
    if (this.stall === 'exchange') {
      return new Promise((_, reject) => uncounted(() => init.signal.addEventListener('abort', () => reject(init.signal.reason))));
    }
    if (this.refusal) return new Response(JSON.stringify({ error: this.refusal.error }), { status: this.refusal.status });
    const sdp = await uncounted(() => this.#accept(typeof init.body === 'string' ? init.body : ''));
    return new Response(sdp, { status: 201, headers: { location: `/v1/realtime/calls/rtc_${this.posts.length}` } });
  }

  async #accept(sdp) {
    const pc = new RTCPeerConnection();
    const call = { pc, channel: undefined };
    this.calls.push(call);
    const gathered = new Promise((resolve) => {
      pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && resolve();
    });
    pc.ondatachannel = ({ channel }) => {
      call.channel = channel;
      channel.onmessage = ({ data }) => this.#heard(call, JSON.parse(data));
      channel.onopen = () => this.say({ type: 'session.created', session: {} }, call);
    };
    await pc.setRemoteDescription({ type: 'offer', sdp });
    const [line] = pc.getTransceivers();
    line.direction = 'sendrecv';
    await line.sender.replaceTrack(line.receiver.track);
    await uncounted(() => pc.setLocalDescription());
    await gathered;
    // Nothing leaves this machine.
    const answer = pc.localDescription.sdp.replaceAll(/a=candidate:(?!.* 127\.0\.0\.1 ).*\r\n/g, '');
    if (this.stall === 'ice') return answer.replaceAll(/a=candidate.*\r\n/g, '');
    return answer;
  }

  #heard(call, event) {
    this.events.push(event);
    if (event.type === 'session.update' && this.stall !== 'settings') this.say({ type: 'session.updated', session: this.session ?? event.session }, call);
    this.onEvent(event, call);
  }

  /** An event to the page. */
  say(event, call = this.calls.at(-1)) {
    call.channel.send(JSON.stringify({ event_id: `event_${Math.random()}`, ...event }));
  }

  types() {
    return this.events.map(({ type }) => type);
  }

  /** Packets of audio that came in, and how many of their samples were not silent. */
  async received(call = this.calls.at(-1)) {
    let found = { packets: 0 };
    (await call.pc.getStats()).forEach((stat) => {
      if (stat.type === 'inbound-rtp' && stat.kind === 'audio') found = { packets: stat.packetsReceived };
    });
    return found;
  }

  async receives(call = this.calls.at(-1)) {
    const before = (await this.received(call)).packets;
    await until('packets come', async () => (await this.received(call)).packets > before + 5);
  }

  /** The page's own functions are back, the other side is gone. */
  end() {
    globalThis.fetch = this.#fetch;
    for (const { pc } of this.calls) pc.close();
  }
}

export const callsUrl = CALLS;
