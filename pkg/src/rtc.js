// A call's browser objects, in the engine's own language: each function does one thing when the module says so, and
// says how it went. It decides nothing. Plain JavaScript, because the browser tests load it as it is.

import { Sound, samplesOf } from './sound.js';

/**
 * @typedef {object} Settings
 * @property {string} url the calls endpoint
 * @property {string} socketUrl where a call's socket is
 * @property {string} workletUrl where the file of a socket's worklets is
 * @property {boolean} hangup whether the server takes a hang-up
 * @property {string} [model]
 * @property {string} [restaurantId]
 * @property {readonly RTCIceServer[]} [iceServers]
 * @property {MediaTrackConstraints | false} microphone
 * @property {boolean} [muteAudioOutput]
 * @property {Record<string, any>} session
 */

/** What `read` answers first; the same numbers as in `src/voice/heard.rs`. */
const UPDATED = 1;
const SPEECH = 2;
const STARTED = 3;
const STOPPED = 4;
const CLEARED = 5;
const CREATED = 6;
const DONE = 7;
const ITEM = 8;
const COMMITTED = 9;
const DELETED = 10;
const DELTA = 11;
const TEXT = 12;
const UNHEARD = 13;
const TRUNCATED = 14;
const OUTPUT = 15;
const ERROR = 16;
const SOUND = 17;
const SOUND_DONE = 18;
const EXPIRING = 19;

/** In the order of the module's. */
const ALARMS = ['mic_silent', 'no_rtp_out', 'no_audio_in'];

/** The channel's name, which the API knows it by. */
const CHANNEL = 'oai-events';
/** What a socket's subprotocols are: the API's name, and the one a token hides in, which no server repeats. */
const SOCKET = 'realtime';
const SOCKET_TOKEN = 'openai-insecure-api-key.';
/** A piece of what is spoken over a socket. */
const PIECE_MS = 40;
/** How long a hang-up may take, ms: the page is perhaps on its way out. */
const HANGUP_MS = 5_000;

/** A microphone from the moment it is asked for: `stop()` also stops one that is still to come. */
class Microphone {
  /** @type {MediaStream | undefined} */
  stream = undefined;
  /** @type {MediaStreamTrack | undefined} */
  track = undefined;
  #stopped = false;
  #owned;

  /** @param {MediaStreamConstraints | MediaStream} from a stream of the page's is never stopped */
  constructor(from) {
    this.#owned = !(from instanceof MediaStream);
    this.ready = this.#owned ? this.#ask(/** @type {MediaStreamConstraints} */ (from)) : Promise.resolve();
    if (!this.#owned) this.#take(/** @type {MediaStream} */ (from));
  }

  /** @param {MediaStreamConstraints} constraints */
  async #ask(constraints) {
    const devices = navigator.mediaDevices;
    if (!devices) throw new DOMException('no microphones for this page', 'SecurityError');
    this.#take(await devices.getUserMedia(constraints));
  }

  /** @param {MediaStream} stream */
  #take(stream) {
    this.stream = stream;
    this.track = stream.getAudioTracks()[0];
    if (this.#stopped) this.stop();
  }

  get device() {
    return this.track?.getSettings().deviceId;
  }

  /** Whether its sound is let through. @param {boolean} open */
  gate(open) {
    if (this.track) this.track.enabled = open;
  }

  stop() {
    this.#stopped = true;
    if (this.#owned) for (const track of this.stream?.getTracks() ?? []) track.stop();
    // A stream that is handed back is as it came.
    else if (this.track) this.track.enabled = true;
  }
}

/** Plays the answer. */
class Player {
  #audio = document.createElement('audio');

  /** @param {boolean} muted */
  constructor(muted) {
    this.#audio.muted = muted;
  }

  /** Rejects where the browser wants a gesture first. @param {MediaStream} [stream] @param {string} [device] */
  async play(stream, device) {
    if (stream) this.#audio.srcObject = stream;
    // A device that is gone: the usual one is better than none.
    if (device !== undefined) await this.sink(device).catch(() => {});
    if (this.#audio.srcObject) await this.#audio.play();
  }

  /** @param {string} device */
  async sink(device) {
    await /** @type {{ setSinkId(id: string): Promise<void> }} */ (/** @type {unknown} */ (this.#audio)).setSinkId(device);
  }

  /** @param {boolean} quiet */
  duck(quiet) {
    this.#audio.volume = quiet ? 0.2 : 1;
  }

  stop() {
    this.#audio.pause();
    this.#audio.srcObject = null;
  }
}

/** How loud both sides are. */
class Meter {
  #context = new AudioContext();
  /** @type {{ [side: string]: { source: AudioNode, analyser: AnalyserNode } }} */
  #sides = {};
  #samples = new Float32Array(1024);

  /** @param {'input' | 'output'} side @param {MediaStream} [stream] */
  listen(side, stream) {
    this.#sides[side]?.source.disconnect();
    delete this.#sides[side];
    if (!stream) return;
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = this.#samples.length;
    const source = this.#context.createMediaStreamSource(stream);
    source.connect(analyser);
    this.#sides[side] = { source, analyser };
  }

  read() {
    return { input: this.#peak('input'), output: this.#peak('output') };
  }

  /** @param {string} side */
  #peak(side) {
    const analyser = this.#sides[side]?.analyser;
    if (!analyser) return 0;
    analyser.getFloatTimeDomainData(this.#samples);
    return Math.min(1, this.#samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0));
  }

  resume() {
    return this.#context.resume();
  }

  stop() {
    // Rejected when it is closed already.
    this.#context.close().catch(() => {});
  }
}

/** The browser side of one `VoiceConnection`. */
export class Rtc {
  #settings;

  /** @param {Settings} settings */
  constructor(settings) {
    this.#settings = settings;
  }

  /** A peer connection with an audio line, whether or not there is a microphone behind it. */
  open() {
    const servers = this.#settings.iceServers;
    const pc = new RTCPeerConnection(servers ? { iceServers: [...servers] } : {});
    pc.addTransceiver('audio', { direction: 'sendrecv' });
    return pc;
  }

  /** Its channel. @param {RTCPeerConnection} pc @param {number} low */
  channel(pc, low) {
    const channel = pc.createDataChannel(CHANNEL);
    channel.bufferedAmountLowThreshold = low;
    return channel;
  }

  /** What the other side takes in one message. @param {RTCPeerConnection} pc */
  maxMessage(pc) {
    return pc.sctp?.maxMessageSize || 262_144;
  }

  /** Does not wait for candidates. @param {RTCPeerConnection} pc */
  async offer(pc) {
    await pc.setLocalDescription();
    return pc.localDescription?.sdp;
  }

  /** @param {RTCPeerConnection} pc @param {string} sdp */
  answer(pc, sdp) {
    return pc.setRemoteDescription({ type: 'answer', sdp });
  }

  /** Gives the microphone's track to the call. @param {RTCPeerConnection} pc @param {Microphone} [microphone] */
  attach(pc, microphone) {
    // Rejected when the call is over.
    pc.getTransceivers()[0]?.sender.replaceTrack(microphone?.track ?? null).catch(() => {});
  }

  /**
   * Sends the offer. Answers status, the call's own address, and the answer; or status, the server's code and words.
   * @param {string} token @param {string} sdp @param {AbortSignal} signal
   */
  async post(token, sdp, signal) {
    const { url, model, restaurantId } = this.#settings;
    const address = at(url, restaurantId);
    /** @type {Record<string, string>} */
    const headers = { authorization: `Bearer ${token}` };
    /** @type {string | FormData} */
    let body = sdp;
    if (model && !token.startsWith('ek_')) {
      body = new FormData();
      body.set('sdp', new Blob([sdp], { type: 'application/sdp' }));
      body.set('session', new Blob([JSON.stringify({ type: 'realtime', model })], { type: 'application/json' }));
    } else {
      headers['content-type'] = 'application/sdp';
    }
    const response = await fetch(address, { method: 'POST', headers, body, signal, credentials: 'omit' });
    const text = await response.text();
    if (response.ok) return [response.status, response.headers.get('location') ?? undefined, text];
    let error;
    try {
      error = JSON.parse(text).error;
    } catch {
      // A proxy's page: its status says enough.
    }
    return [response.status, string(error?.code), string(error?.message)];
  }

  /** Where a call's socket is. */
  socketUrl() {
    const { socketUrl, model, restaurantId } = this.#settings;
    const address = at(socketUrl, restaurantId);
    if (model) address.searchParams.set('model', model);
    address.protocol = address.protocol.replace('http', 'ws');
    return address.href;
  }

  /** @param {string} token */
  protocols(token) {
    return [SOCKET, `${SOCKET_TOKEN}${token}`];
  }

  /** What a call over a socket hears and speaks with. */
  sound() {
    return new Sound(this.#settings.workletUrl);
  }

  /**
   * Tells the server that the call is over, also from a page that is going away.
   * @param {string} token @param {string} call
   */
  async hangup(token, call) {
    if (!this.#settings.hangup) return;
    const id = call.slice(call.lastIndexOf('/') + 1);
    const address = new URL(this.#settings.url, globalThis.location?.href);
    address.pathname += `/${encodeURIComponent(id)}/hangup`;
    const init = { method: 'POST', headers: { authorization: `Bearer ${token}` }, keepalive: true, signal: AbortSignal.timeout(HANGUP_MS) };
    // The server notices by itself, a few seconds later.
    await fetch(address, { ...init, credentials: 'omit' }).catch(() => {});
  }

  /** @param {string | undefined} device @param {boolean} any */
  microphone(device, any) {
    const { microphone } = this.#settings;
    const wanted = any || device === undefined ? {} : { deviceId: { exact: device } };
    return new Microphone({ audio: { ...(microphone || {}), ...wanted } });
  }

  /** @param {MediaStream} stream */
  borrow(stream) {
    return new Microphone(stream);
  }

  /** Ids of the microphones there are. */
  async devices() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter(({ kind }) => kind === 'audioinput').map(({ deviceId }) => deviceId);
  }

  /** Where devices that come and go are told. */
  deviceTarget() {
    return globalThis.navigator?.mediaDevices;
  }

  player() {
    return new Player(this.#settings.muteAudioOutput ?? false);
  }

  meter() {
    return new Meter();
  }

  /** @param {MediaStreamTrack} track */
  streamOf(track) {
    return new MediaStream([track]);
  }

  /** @param {MediaStream} stream */
  trackOf(stream) {
    return stream.getAudioTracks()[0];
  }

  /**
   * An object with these members, in that order; what is not there is `null`.
   * @param {string} keys @param {unknown[]} values
   */
  object(keys, values) {
    return Object.fromEntries(keys.split(' ').map((key, n) => [key, values[n] ?? null]));
  }

  /** `VoiceStats`; `NaN` is what is not known. @param {Float64Array} numbers */
  report(numbers) {
    const [score, rttMs, jitterMs, loss, concealed, bitrateIn, bitrateOut, path, firstAudioMs, reconnects, alarms, underruns, unsent] = numbers;
    const known = (/** @type {number | undefined} */ value) => (Number.isFinite(value) ? value : null);
    return {
      score: known(score),
      rttMs: known(rttMs),
      jitterMs: known(jitterMs),
      loss: known(loss),
      concealed: known(concealed),
      bitrateIn,
      bitrateOut,
      path: [null, 'udp', 'tcp', 'relay', 'websocket'][path ?? 0],
      firstAudioMs: known(firstAudioMs),
      underruns,
      unsentMs: (unsent ?? 0) * PIECE_MS,
      alarms: ALARMS.filter((_, n) => (alarms ?? 0) & (1 << n)),
      reconnects,
    };
  }

  /** The session object as JSON text. */
  session() {
    return JSON.stringify(this.#settings.session);
  }

  /** What calls to come are told; also what they are to confirm. @param {Record<string, any>} session */
  setSession(session) {
    this.#settings = { ...this.#settings, session };
  }

  /**
   * What the module looks at in a server's event; nothing if it does not look at it.
   * @param {any} event
   * @returns {unknown[] | undefined}
   */
  read(event) {
    const { item_id: item, response_id: response, content_index: part = 0, previous_item_id: previous } = event;
    switch (event.type) {
      case 'session.updated':
        return [
          UPDATED,
          confirms(this.#settings.session, event.session),
          event.session?.audio?.input?.turn_detection?.interrupt_response !== false,
          event.session?.expires_at * 1_000 - Date.now(),
        ];
      case 'tautline.session.expiring':
        return [EXPIRING, event.remaining_ms];
      case 'input_audio_buffer.speech_started':
        return [SPEECH, true];
      case 'input_audio_buffer.speech_stopped':
        return [SPEECH, false];
      case 'output_audio_buffer.started':
        return [STARTED, response];
      case 'output_audio_buffer.stopped':
        return [STOPPED];
      case 'output_audio_buffer.cleared':
        return [CLEARED, response];
      case 'response.created':
        // One beside the conversation does not keep others from beginning.
        return event.response?.conversation_id === null ? undefined : [CREATED, event.response?.id];
      case 'response.done':
        return [DONE, event.response?.id];
      case 'conversation.item.created':
      case 'conversation.item.added':
      case 'conversation.item.done':
        return [ITEM, previous, ...flat(event.item)];
      case 'input_audio_buffer.committed':
        return [COMMITTED, previous, item];
      case 'conversation.item.deleted':
        return [DELETED, item];
      case 'response.output_audio_transcript.delta':
      case 'response.output_text.delta':
        return [DELTA, 'assistant', item, part, response, event.delta];
      case 'conversation.item.input_audio_transcription.delta':
        return [DELTA, 'user', item, part, undefined, event.delta];
      case 'response.output_audio_transcript.done':
        return [TEXT, 'assistant', item, part, response, event.transcript];
      case 'response.output_text.done':
        return [TEXT, 'assistant', item, part, response, event.text];
      case 'conversation.item.input_audio_transcription.completed':
        return [TEXT, 'user', item, part, undefined, event.transcript];
      case 'conversation.item.input_audio_transcription.failed':
        return [UNHEARD, item];
      case 'conversation.item.truncated':
        return [TRUNCATED, item, event.audio_end_ms];
      case 'response.output_audio.delta':
        return [SOUND, response, item, part, samplesOf(event.delta)];
      case 'response.output_audio.done':
        return [SOUND_DONE, item];
      case 'response.output_item.done':
        return event.item?.type === 'function_call' && event.item.status !== 'incomplete' ? [OUTPUT, undefined, ...flat(event.item)] : undefined;
      case 'error':
        return [ERROR, event.error?.event_id, event.error?.code, event.error?.message];
      default:
        return undefined;
    }
  }

  /**
   * What the browser has counted; `NaN` where it does not say. The order is that of `src/voice/heard.rs`.
   * @param {RTCPeerConnection} pc
   */
  async stats(pc) {
    const report = await pc.getStats();
    /** @type {Map<string, any>} */
    const byId = new Map();
    /** @type {Record<string, any>} */
    const audio = {};
    report.forEach((/** @type {any} */ stat) => {
      byId.set(stat.id, stat);
      if (stat.kind === 'audio' || stat.type === 'transport') audio[stat.type] = stat;
    });
    const { 'inbound-rtp': inbound, 'remote-inbound-rtp': remote, 'outbound-rtp': outbound, 'media-source': source, transport } = audio;
    // Firefox has no transport to name it.
    const pair = byId.get(transport?.selectedCandidatePairId) ?? [...byId.values()].find((stat) => stat.type === 'candidate-pair' && stat.selected);
    const local = byId.get(pair?.localCandidateId);
    const path = local === undefined ? 0 : local.candidateType === 'relay' ? 3 : local.protocol === 'tcp' ? 2 : 1;
    const rtt = pair?.currentRoundTripTime ?? remote?.roundTripTime;
    return [
      rtt * 1000,
      inbound?.jitter * 1000,
      inbound?.packetsReceived ?? 0,
      inbound?.packetsLost ?? 0,
      (remote?.fractionLost ?? 0) * 1000,
      inbound?.totalSamplesReceived ?? 0,
      (inbound?.concealedSamples ?? 0) - (inbound?.silentConcealedSamples ?? 0),
      inbound?.bytesReceived ?? 0,
      outbound?.packetsSent ?? 0,
      outbound?.bytesSent ?? 0,
      source?.totalAudioEnergy * 1e12,
      (transport?.packetsReceived ?? 0) + (pair?.responsesReceived ?? 0) + (pair?.bytesReceived ?? 0),
      path,
    ];
  }
}

/**
 * An item of the conversation: id, what it is, whether it was cut off, and three that depend on what it is.
 * @param {any} item
 * @returns {unknown[]}
 */
function flat(item) {
  const head = [item?.id, item?.type, item?.status === 'incomplete'];
  switch (item?.type) {
    case 'message': {
      const parts = Array.isArray(item.content) ? item.content : [];
      const words = parts.map((/** @type {any} */ part) => part?.text ?? part?.transcript).filter((/** @type {unknown} */ text) => typeof text === 'string');
      const known = words.length > 0 && item.status !== 'in_progress';
      return [...head, item.role, known ? words.join('') : undefined, undefined];
    }
    case 'function_call':
      return [...head, item.call_id, item.name, item.arguments];
    case 'function_call_output':
      return [...head, item.call_id, item.output, undefined];
    default:
      return [...head, undefined, undefined, undefined];
  }
}

/** An address of the server's. @param {string} url @param {string | undefined} restaurantId */
function at(url, restaurantId) {
  const address = new URL(url, globalThis.location?.href);
  if (restaurantId) address.searchParams.set('restaurant_id', restaurantId);
  return address;
}

/** @param {unknown} value */
function string(value) {
  return typeof value === 'string' ? value : undefined;
}

/**
 * Whether everything that we asked for is in what the server says it has. It may have more.
 * @param {any} ours @param {any} theirs
 * @returns {boolean}
 */
export function confirms(ours, theirs) {
  if (ours === null || ours === undefined) return theirs === null || theirs === undefined;
  if (Array.isArray(ours)) return Array.isArray(theirs) && ours.length === theirs.length && ours.every((value, n) => confirms(value, theirs[n]));
  if (typeof ours === 'object') {
    if (typeof theirs !== 'object' || theirs === null) return false;
    // Of a function the server keeps what it knows: its name tells which it is.
    if (ours.type === 'function' && typeof ours.name === 'string') return ours.name === theirs.name;
    return Object.entries(ours).every(([key, value]) => confirms(value, theirs[key]));
  }
  return ours === theirs || (typeof ours === 'number' && typeof theirs === 'number' && Math.abs(ours - theirs) < 1e-6);
}
