import { VoiceConnection as GlueVoice } from '../wasm/tautline.js';
import { functionOf, json, optionalSignal, optionsOf, text } from './check.js';
import { invalid } from './errors.js';
import { Handle } from './handle.js';
import { Rtc } from './rtc.js';
import { dispose } from './symbols.js';
import { ledger } from './twin.js';
import { merged, transportOf, voiceOptions, withoutFormats } from './voice-options.js';
import type {
  RealtimeEvent,
  RealtimeSession,
  TranscriptItem,
  VoiceConnectOptions,
  VoiceEvents,
  VoiceOptions,
  VoiceReconnectOptions,
  VoiceState,
  VoiceStats,
} from './voice-types.js';

type Listener<E extends keyof VoiceEvents> = (value: VoiceEvents[E]) => unknown;

const NO_STATS: VoiceStats = {
  score: null,
  rttMs: null,
  jitterMs: null,
  loss: null,
  concealed: null,
  bitrateIn: 0,
  bitrateOut: 0,
  path: null,
  firstAudioMs: null,
  underruns: 0,
  unsentMs: 0,
  alarms: [],
  reconnects: 0,
};

/**
 * One call to a voice model, through the relay or to the Realtime API itself: it connects, says what is wrong, comes
 * back with its conversation when it is lost, and leaves nothing behind.
 *
 * ```ts
 * const call = new VoiceConnection({ relay: 'https://relay.example', getToken: () => fetchSecret() });
 * call.on('transcript', () => show(call.transcript()));
 * call.on('needsGesture', () => showUnmuteButton());
 * await call.connect();
 * ```
 *
 * One that nobody can reach any more is disposed of with one warning, its call and its microphone with it, unless it is at
 * work for somebody: it has listeners, and is neither `disconnected` nor in state `error`.
 */
export class VoiceConnection {
  readonly #handle: Handle<GlueVoice>;
  #session: RealtimeSession;
  #lastTranscript: readonly TranscriptItem[] = [];
  #lastStats = NO_STATS;

  constructor(options?: VoiceOptions) {
    const { config, session, getToken, debug, overSocket, fallsBack } = voiceOptions(options);
    if (debug) ledger().stacks = true;
    json('session', session);
    this.#session = session;
    const { microphone, startMuted, connectTimeoutMs, maxReconnectAttempts, ...browser } = config;
    const life = { event: 'connection.change', rests: ['disconnected', 'error'] };
    const told = (event: string, value: unknown) => this.#told(event, value);
    this.#handle = new Handle('VoiceConnection', { priority: 'critical', life, shutdown: () => this.dispose() }, (lend) => {
      const rtc = new Rtc({ ...browser, microphone, session });
      const asked = getToken && lend(getToken);
      return new GlueVoice(rtc, lend(told), asked, microphone !== false, startMuted, connectTimeoutMs, maxReconnectAttempts, overSocket, fallsBack);
    });
  }

  /**
   * Resolves when the server has confirmed the call's settings; rejects with a {@link TautlineError} whose `stage`
   * says how far it came, and then nothing of the call is left. Concurrent calls join one attempt. `token` is used in
   * place of what `getToken` would give, for this call.
   */
  async connect(token?: string, options?: VoiceConnectOptions): Promise<void> {
    if (token !== undefined) secret('connect(token)', token);
    const signal = optionalSignal('connect({signal})', optionsOf('connect()', options).signal);
    await this.#handle.later((glue) => glue.connect(token, signal));
  }

  /** Hangs up, from any state; pending promises reject `aborted`. The transcript stays until the next `connect()`. */
  disconnect(): void {
    this.#handle.clean((glue) => glue.disconnect());
  }

  /** A new call in the place of this one, with its conversation; over another transport if one is named. Resolves and rejects as `connect()` does. */
  async reconnect(options?: VoiceReconnectOptions): Promise<void> {
    const given = optionsOf('reconnect()', options);
    const signal = optionalSignal('reconnect({signal})', given.signal);
    const transport = given.transport === undefined ? undefined : transportOf('reconnect({transport})', given.transport);
    await this.#handle.later((glue) => glue.reconnect(signal, transport && transport === 'websocket'));
  }

  /** Asks for the microphone now rather than at `connect()`; resolves with its stream. Rejects `microphone_…`, `insecure_context`. */
  async setupMicrophone(): Promise<MediaStream> {
    return this.#handle.later((glue) => glue.setupMicrophone() as Promise<MediaStream>);
  }

  /** Uses a stream of the page's, which is never stopped here, also in a running call; `null`: a microphone of its own again. */
  async setMicrophoneStream(stream: MediaStream | null): Promise<void> {
    if (stream !== null && !(typeof MediaStream === 'function' && stream instanceof MediaStream && stream.getAudioTracks().length > 0)) {
      throw invalid('setMicrophoneStream() takes a MediaStream with an audio track, or null', stream);
    }
    await this.#handle.later((glue) => glue.setMicrophoneStream(stream ?? undefined));
  }

  /** Unmutes: before, during and after a connect, and for the calls that follow. */
  enableMicrophone(): void {
    this.#handle.act((glue) => glue.setMuted(false));
  }

  /** Mutes: nothing spoken leaves this page. */
  disableMicrophone(): void {
    this.#handle.act((glue) => glue.setMuted(true));
  }

  /** Whether the page has muted the microphone. */
  isMuted(): boolean {
    return this.#handle.ask((glue) => glue.isMuted(), true);
  }

  /**
   * Push-to-talk: opens the microphone until `stopTalking()`, cutting the answer off if one is playing. Does nothing
   * without a call.
   */
  startTalking(): void {
    this.#handle.act((glue) => glue.talk(true));
  }

  /** Ends the turn and asks for an answer; held for less than 100 ms it was a slip, and nothing is sent. */
  stopTalking(): void {
    this.#handle.act((glue) => glue.talk(false));
  }

  /** Uses this microphone, also in a running call, and comes back to it when it was away. Rejects as `setupMicrophone()` does. */
  async setMicrophoneDevice(deviceId: string): Promise<void> {
    text('setMicrophoneDevice(deviceId)', deviceId);
    await this.#handle.later((glue) => glue.setMicrophoneDevice(deviceId));
  }

  /** Plays on this device; `''` is the system's usual one. Rejects with the browser's error where it cannot. */
  async setOutputDevice(deviceId: string): Promise<void> {
    if (typeof deviceId !== 'string') throw invalid('setOutputDevice() takes a device id', deviceId);
    await this.#handle.later((glue) => glue.setOutputDevice(deviceId));
  }

  /** The stream in use; `null` while there is none. */
  getMicrophoneStream(): MediaStream | null {
    return this.#handle.ask((glue) => (glue.getMicrophoneStream() as MediaStream | undefined) ?? null, null);
  }

  /** Plays what the browser did not play without a gesture; to be called from a click. Rejects `needs_gesture`. */
  async resumeAudio(): Promise<void> {
    await this.#handle.later((glue) => glue.resumeAudio());
  }

  /** The call as the page sees it. */
  getConnectionState(): VoiceState {
    if (this.#handle.dead) return 'error';
    return this.#handle.ask((glue) => glue.getConnectionState() as VoiceState, 'disconnected');
  }

  /** Whether the call is open and its settings are confirmed. */
  isConnected(): boolean {
    return this.getConnectionState() === 'connected';
  }

  /** Whether a call, or one in a lost one's place, is being made. */
  isConnecting(): boolean {
    return ['connecting', 'reconnecting', 'unacknowledged'].includes(this.getConnectionState());
  }

  /** The call's channel; `null` while there is none, and over a socket. */
  getDataChannel(): RTCDataChannel | null {
    return this.#handle.ask((glue) => (glue.getDataChannel() as RTCDataChannel | undefined) ?? null, null);
  }

  /** The call's peer connection; `null` while there is none, and over a socket. */
  getPeerConnection(): RTCPeerConnection | null {
    return this.#handle.ask((glue) => (glue.getPeerConnection() as RTCPeerConnection | undefined) ?? null, null);
  }

  /**
   * Sends a client event of the Realtime API and answers its `event_id`. A `response.create` waits until no other
   * response is active. Throws `message_too_large`, `outbox_full`, and `connect_failed` where there is no call.
   */
  send(event: RealtimeEvent): string {
    const given = optionsOf('send(event)', event);
    text('send({type})', given.type);
    const { event_id, ...rest }: Record<string, unknown> = given;
    if (given.type === 'session.update' && isSession(given.session)) {
      const session = withoutFormats(given.session);
      this.#session = merged(this.#session, session) as RealtimeSession;
      json('send({session})', this.#session);
      this.#handle.act((glue) => glue.setSession(this.#session));
      rest['session'] = session;
    }
    const body = json('send(event)', rest);
    const alone = given.type === 'response.create' && (given.response as { conversation?: unknown } | undefined)?.conversation !== 'none';
    return this.#handle.act((glue) => glue.send(body, typeof event_id === 'string' ? event_id : undefined, alone));
  }

  /** Cuts the answer off: what is being generated and what is being played. */
  interrupt(): void {
    this.#handle.act((glue) => glue.interrupt());
  }

  /** What was said, in order; the same array, and the same object for an unchanged item, until something changes. */
  transcript(): readonly TranscriptItem[] {
    return (this.#lastTranscript = this.#handle.ask((glue) => glue.transcript() as readonly TranscriptItem[], this.#lastTranscript));
  }

  /** How the call did over its last second. */
  async stats(): Promise<VoiceStats> {
    return this.#read();
  }

  /** Calls back at every such event; the function returned ends that. */
  on<E extends keyof VoiceEvents>(event: E, listener: Listener<E>): () => void {
    return this.#handle.listen(event, functionOf('on(event, listener)', listener), false);
  }

  /** Calls back at the next such event only. */
  once<E extends keyof VoiceEvents>(event: E, listener: Listener<E>): () => void {
    return this.#handle.listen(event, functionOf('once(event, listener)', listener), true);
  }

  /** Takes a listener off, however often it was put on. */
  off<E extends keyof VoiceEvents>(event: E, listener: Listener<E>): void {
    this.#handle.events.off(event, listener);
  }

  /** How many listen to an event. */
  listenerCount(event: keyof VoiceEvents): number {
    return this.#handle.events.count(event);
  }

  /** Takes off every listener of an event, or of all. */
  removeAllListeners(event?: keyof VoiceEvents): void {
    this.#handle.events.clear(event);
  }

  /** Ends the object: hangs up, lets go of everything, rejects what is pending with `disposed`. Twice does nothing. */
  dispose(): void {
    if (this.#handle.live) {
      this.transcript();
      this.#read();
    }
    this.#handle.dispose();
  }

  /** The same as `dispose()`: `using` works. */
  [dispose](): void {
    this.dispose();
  }

  #read(): VoiceStats {
    return (this.#lastStats = this.#handle.ask((glue) => glue.stats() as VoiceStats, this.#lastStats));
  }

  #told(event: string, value: unknown): void {
    this.#handle.tell(event, value);
    if (event === 'dataChannelMessage') this.#handle.tell(`event:${(value as RealtimeEvent).type}`, value);
  }
}

/** A token is never shown, also not in the message that says it is none. */
function secret(what: string, value: string): void {
  if (typeof value !== 'string' || value === '') throw invalid(`${what} takes a token`, typeof value === 'string' ? '' : value);
}

function isSession(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
