import type { TautlineError, Stage } from './errors.js';
import type { ConnectionState, TokenReason } from './types.js';

/** A call's state: the service's, and `unacknowledged`: open, its settings not confirmed in time, nothing heard from here. */
export type VoiceState = ConnectionState | 'unacknowledged';

/** What carries a call: media and a data channel, or one socket for both. */
export type VoiceTransport = 'webrtc' | 'websocket';

/** An event of the Realtime API, in either direction: `type` and whatever belongs to it. */
export interface RealtimeEvent {
  /** Which it is. */
  readonly type: string;
  /** Names it; made here for those that are sent without. */
  readonly event_id?: string;
  readonly [field: string]: unknown;
}

/** A Realtime `session` object; see the API's documentation. `type` may be left out. */
export interface RealtimeSession {
  /** The kind of session; there is one kind. */
  readonly type?: 'realtime';
  readonly [field: string]: unknown;
}

/** What `getToken` is told. */
export interface VoiceTokenRequest {
  /** A new call, one that takes a lost one's place, or the last token was refused. */
  readonly reason: Exclude<TokenReason, 'renew' | 'expired'>;
  /** 1 for the first call, counted on for each that takes a lost one's place. */
  readonly attempt: number;
}

/** Options of a {@link VoiceConnection}. All times are in milliseconds. */
export interface VoiceOptions {
  /** The relay's base address: `https://relay.example`, or a path on this page's host. Default: this page's host. */
  relay?: string | undefined;
  /** The calls endpoint itself, of the relay or of the Realtime API; in place of `relay`. */
  callsUrl?: string | undefined;
  /** The model, where the token does not say: sent with the offer unless the token is an `ek_` secret. */
  model?: string | undefined;
  /**
   * Settings of the session, sent first of all and again with each new call; `connect()` resolves when the server
   * has confirmed them. Default: with `startMuted` turn detection off, nothing else.
   */
  session?: RealtimeSession | undefined;
  /** Sent as `?restaurant_id=`. Default: none; a token that names one restaurant is enough. */
  restaurantId?: string | undefined;
  /** Default: none. Neither relay nor API needs any. */
  iceServers?: readonly RTCIceServer[] | undefined;
  /** Constraints for the microphone, or `false` for none: listen only. Default: echo cancellation, noise suppression, gain control. */
  microphone?: MediaTrackConstraints | false | undefined;
  /** `true`: push-to-talk, heard only between `startTalking()` and `stopTalking()`. Default `false`. */
  startMuted?: boolean | undefined;
  /** The answer is not played. Default `false`. */
  muteAudioOutput?: boolean | undefined;
  /** The whole of `connect()`, from token to confirmed settings. Default 15000. */
  connectTimeoutMs?: number | undefined;
  /** New calls in a row, after a call was lost, before state `error`. Default 3. */
  maxReconnectAttempts?: number | undefined;
  /**
   * Gives a token (an `ek_` secret, or the relay's JWT): called for every call. `null` = none now.
   * Default: none; `connect(token)` hands one over.
   */
  getToken?: ((request: VoiceTokenRequest) => string | null | Promise<string | null>) | undefined;
  /**
   * `websocket`: a call that WebRTC does not carry is made over a socket, within the same `connectTimeoutMs`, and told by
   * `fallback`. WebRTC has a third of that time, and a twelfth while it was not to be had the last time. Default `none`.
   */
  fallback?: 'websocket' | 'none' | undefined;
  /** What calls are tried over first. Default `webrtc`; see also `reconnect()`. */
  transport?: VoiceTransport | undefined;
  /** Where a call's socket is. Default: the calls endpoint without its `/calls`. */
  socketUrl?: string | undefined;
  /** Where `worklet.js` of this package is, for a bundler that does not copy it. It is fetched when a call is made over a socket. */
  workletUrl?: string | URL | undefined;
  /** The resource ledger keeps where each resource was made. Default false. */
  debug?: boolean | undefined;
}

/** Options of `connect` and `reconnect`. */
export interface VoiceConnectOptions {
  /** Ends the wait, and the call if nobody else waits for it: the promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Options of `reconnect`. */
export interface VoiceReconnectOptions extends VoiceConnectOptions {
  /** What this call and those to come are tried over first. Default: as before. */
  transport?: VoiceTransport | undefined;
}

/** Something said in the conversation. */
export interface TranscriptItem {
  /** The conversation item's id. */
  readonly id: string;
  /** Who said it. */
  readonly role: 'user' | 'assistant' | 'system';
  /** `null` while nothing is known of it, and for speech that was not transcribed. */
  readonly text: string | null;
  /** Nothing yet; still growing; as it stays; speech that could not be transcribed. */
  readonly state: 'pending' | 'partial' | 'final' | 'failed';
  /** The assistant was cut off here: `text` is what was heard of it, by the time it was audible. */
  readonly interrupted: boolean;
}

/** A function the model wants called; told once, however often the call is made anew. */
export interface ToolCall {
  /** What the answer to it names. */
  readonly callId: string;
  /** Which function. */
  readonly name: string;
  /** JSON text, as the model wrote it. */
  readonly arguments: string;
}

/** Who is heard. */
export interface Speaking {
  /** The server's turn detection hears the user. */
  readonly user: boolean;
  /** The answer is being played. */
  readonly assistant: boolean;
}

/** What a call may quietly suffer from. */
export type VoiceAlarm =
  /** The microphone is open and gives nothing but zeros. */
  | 'mic_silent'
  /** No packet left for three seconds. */
  | 'no_rtp_out'
  /** The answer is said to be playing and no packet of it came for three seconds. */
  | 'no_audio_in';

/** How the call is doing, over the last second. */
export interface VoiceStats {
  /** From 0 (nothing gets through) to 5; falls soon and rises slowly. `null` before the first second. */
  readonly score: number | null;
  /** Round trip, ms; `null` where the browser does not say. */
  readonly rttMs: number | null;
  /** How unevenly packets come, ms; `null` where the browser does not say. */
  readonly jitterMs: number | null;
  /** Packets lost of those sent to us, 0 to 1. */
  readonly loss: number | null;
  /** Played sound that was made up for lost packets, 0 to 1. */
  readonly concealed: number | null;
  /** Bits a second, of the answer. */
  readonly bitrateIn: number;
  /** Bits a second, of the microphone. */
  readonly bitrateOut: number;
  /** How packets travel: `udp` or `tcp`, and whether through a TURN relay; or on a socket. `null` before there is a path. */
  readonly path: 'udp' | 'tcp' | 'relay' | 'websocket' | null;
  /** From the end of the user's turn to the first sound of the answer, of the last turn, ms. */
  readonly firstAudioMs: number | null;
  /** Over a socket: holes in answers, because the rest came late. */
  readonly underruns: number;
  /** Over a socket: what was spoken and could not be sent in time, ms. */
  readonly unsentMs: number;
  /** What is wrong now. */
  readonly alarms: readonly VoiceAlarm[];
  /** Calls that took a lost one's place. */
  readonly reconnects: number;
}

/** Values of the events of a {@link VoiceConnection}, by name. */
export interface VoiceEvents {
  /** The state changed; its new value. */
  'connection.change': VoiceState;
  /** Open, and its settings confirmed; told again when a lost call has been replaced. */
  connected: undefined;
  /** WebRTC did not carry the call, because of `reason`; it is made over a socket. */
  fallback: { readonly from: VoiceTransport; readonly to: VoiceTransport; readonly reason: TautlineError };
  /** Another session has taken the place of one that ran out, with its conversation; nothing changes for the page. */
  rollover: undefined;
  /** The data channel, or socket, is open; settings are not confirmed yet. */
  dataChannelReady: undefined;
  /** Any event of the server, the engine's own object. */
  dataChannelMessage: RealtimeEvent;
  /** An event of the server of one type. */
  [type: `event:${string}`]: RealtimeEvent;
  /** An item of the transcript is new or has changed; `transcript()` has all of them in order. */
  transcript: TranscriptItem;
  /** The model wants a function called. */
  'tool.call': ToolCall;
  /** The answer's track. */
  'track.received': MediaStreamTrack;
  /** How loud both sides are, 0 to 1; 20 times a second while connected. */
  level: { readonly input: number; readonly output: number };
  /** Who is heard changed. */
  speaking: Speaking;
  /** Muted or not, by the page or by the system (a hardware switch, another application). */
  'microphone.muted': { readonly muted: boolean; readonly by: 'page' | 'system' };
  /** The microphone was unplugged or taken away; `replaced` tells whether another takes its place. */
  'microphone.ended': { readonly replaced: boolean };
  /** There is no microphone: why. */
  'microphone.denied': TautlineError;
  /** The browser plays nothing before the user has touched the page: `resumeAudio()`, or any click, mends it. */
  needsGesture: undefined;
  /** Packets stopped coming; the call waits for a few seconds for them to come back. */
  'ice.disconnection': undefined;
  /** The call ended. */
  disconnection: { readonly reason: DisconnectionReason; readonly willReconnect: boolean; readonly delayMs: number | null };
  /** The call does not come back by itself: `reconnect()` begins a new one. */
  'reconnect.needed': TautlineError;
  /** `connect()`, or a new call in a lost one's place, took too long. */
  'connection.timeout': { readonly stage: Stage; readonly timeoutMs: number };
  /** Once a second while connected. */
  stats: VoiceStats;
  /** Something began or ceased to be wrong. */
  alarm: { readonly alarm: VoiceAlarm; readonly active: boolean };
  /** Something went wrong that no call of the page's is there to reject. */
  error: TautlineError;
}

/** Why a call ended: `disconnect()`, the server closed it, no path for its packets, a new call failed, the page went away. */
export type DisconnectionReason = 'page' | 'server' | 'network' | 'failed';
