import { functionOf, oneOf, optionalBoolean, optionalCount, optionalMs, optionalText, optionsOf, present } from './check.js';
import { TautlineError, invalid } from './errors.js';
import type { RealtimeSession, VoiceOptions, VoiceTransport } from './voice-types.js';

/** What a page asks of a microphone unless it says otherwise. */
const MICROPHONE: MediaTrackConstraints = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** Where the calls endpoint is under a relay's address. */
const CALLS = '/v1/realtime/calls';

const FALLBACKS = ['none', 'websocket'] as const;
const TRANSPORTS: readonly VoiceTransport[] = ['webrtc', 'websocket'];

/** What carries a call. */
export const transportOf = (what: string, value: VoiceTransport): VoiceTransport => oneOf(what, TRANSPORTS, value);

/** The options of a call as the module takes them. */
export function voiceOptions(options: VoiceOptions | undefined) {
  const given = optionsOf('new VoiceConnection()', options);
  if (given.relay !== undefined && given.callsUrl !== undefined) throw invalid('new VoiceConnection() takes relay or callsUrl, not both', given.callsUrl);
  const fallback = oneOf('fallback', FALLBACKS, given.fallback ?? 'none');
  const transport = transportOf('transport', given.transport ?? 'webrtc');
  const url = given.callsUrl === undefined ? `${address('relay', given.relay ?? '/').replace(/(\/v1)?\/*$/, '')}${CALLS}` : address('callsUrl', given.callsUrl);
  const startMuted = optionalBoolean('startMuted', given.startMuted) ?? false;
  const config = present({
    url,
    socketUrl: given.socketUrl === undefined ? url.replace(/\/calls\/?$/, '') : address('socketUrl', given.socketUrl),
    workletUrl: given.workletUrl === undefined ? worklet(transport, fallback) : address('workletUrl', String(given.workletUrl)),
    // Only the relay has an end of call that its caller's own token may ask for.
    hangup: given.callsUrl === undefined,
    model: optionalText('model', given.model),
    restaurantId: optionalText('restaurantId', given.restaurantId),
    iceServers: iceServers(given.iceServers),
    microphone: microphone(given.microphone),
    startMuted,
    muteAudioOutput: optionalBoolean('muteAudioOutput', given.muteAudioOutput),
    connectTimeoutMs: optionalMs('connectTimeoutMs', given.connectTimeoutMs, 1),
    maxReconnectAttempts: optionalCount('maxReconnectAttempts', given.maxReconnectAttempts),
  });
  return {
    config,
    session: firstSession(given.session, startMuted),
    getToken: given.getToken === undefined ? undefined : functionOf('getToken', given.getToken),
    debug: optionalBoolean('debug', given.debug) ?? false,
    overSocket: transport === 'websocket',
    fallsBack: fallback === 'websocket',
  };
}

/** A file of its own wherever the package is built: a worklet cannot be in anything else, and a policy may forbid data: and blob:. */
function worklet(...ways: readonly string[]): string {
  try {
    return new URL('./worklet.js?no-inline', import.meta.url).href;
  } catch {
    // A bundle that is no module does not know where it is.
    if (ways.includes('websocket')) throw invalid('a call over a socket in a bundle that is not a module takes workletUrl', undefined);
    return '';
  }
}

/** With push-to-talk the page says where a turn ends, not the server; unless the page wants both. */
function firstSession(session: RealtimeSession | undefined, startMuted: boolean): RealtimeSession {
  const turns = startMuted ? { audio: { input: { turn_detection: null } } } : {};
  return withoutFormats(merged(merged({ type: 'realtime' }, turns), optionsOf('session', session))) as RealtimeSession;
}

/** A call's formats are its transport's: the codec that was negotiated, or what a socket's player plays. */
export function withoutFormats(session: Readonly<Record<string, unknown>>): Record<string, unknown> {
  if (!isPlain(session['audio'])) return session;
  const sides = Object.entries(session['audio']).map(([side, value]) => {
    if (!isPlain(value)) return [side, value];
    const { format: _, ...rest } = value;
    return [side, rest];
  });
  return { ...session, audio: Object.fromEntries(sides) };
}

/** `session.update` is a merge of the fields present; so is what is sent again with the next call. */
export function merged(into: Readonly<Record<string, unknown>>, fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const result: Record<string, unknown> = { ...into };
  for (const [key, value] of Object.entries(fields)) {
    const before = result[key];
    result[key] = isPlain(before) && isPlain(value) ? merged(before, value) : value;
  }
  return result;
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An address of http or https, of this page's host when it is a path; kept as it is where there is no page. */
function address(what: string, value: string): string {
  if (typeof value !== 'string' || value === '') throw invalid(`${what} takes a string`, value);
  const page = (globalThis as { location?: { href: string } }).location?.href;
  try {
    const url = new URL(value, page ?? 'http://this.page');
    if (/^https?:$/.test(url.protocol)) return page === undefined ? value : url.href;
  } catch (cause) {
    throw new TautlineError('invalid_argument', `${what} takes an address such as https://relay.example, or a path`, { cause });
  }
  throw invalid(`${what} takes an http: or https: address, or a path`, value);
}

function iceServers(value: VoiceOptions['iceServers']): readonly RTCIceServer[] | undefined {
  if (value !== undefined && !Array.isArray(value)) throw invalid('iceServers takes an array', value);
  return value;
}

function microphone(value: VoiceOptions['microphone']): MediaTrackConstraints | false {
  return value === false ? false : { ...MICROPHONE, ...optionsOf('microphone', value) };
}
