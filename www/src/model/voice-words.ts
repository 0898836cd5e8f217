import { TautlineError, type ErrorCode, type VoiceAlarm, type VoiceState } from 'tautline';

/** What went wrong, and what to do about it: for somebody with a guest before them. */
export interface FaultWords {
  readonly title: string;
  readonly advice: string;
}

const RELOAD = 'Reload the page. Until then take the order by hand.';
const AGAIN = 'Try the call again.';

/** Words for every code there is. What cannot happen to a call has words all the same: a code is never shown. */
export const FAULTS: Readonly<Record<ErrorCode, FaultWords>> = {
  microphone_denied: {
    title: 'This page may not use the microphone',
    advice: 'Allow it at the lock or microphone sign beside the address, then start the call again. You can type meanwhile.',
  },
  microphone_dismissed: {
    title: 'The question about the microphone was closed',
    advice: 'Start the call again and answer “Allow”.',
  },
  microphone_missing: {
    title: 'No microphone was found',
    advice: 'Plug one in, or check its cable, then start the call again.',
  },
  microphone_in_use: {
    title: 'Another program has the microphone',
    advice: 'Close other calls and tabs on this device, then start the call again.',
  },
  microphone_overconstrained: {
    title: 'The chosen microphone cannot be used',
    advice: 'Choose another microphone below, then start the call again.',
  },
  microphone_ended: {
    title: 'The microphone was unplugged or switched off',
    advice: 'Plug it in again, or choose another one below.',
  },
  microphone_failed: {
    title: 'The microphone could not be started',
    advice: 'Plug it out and in again, or choose another one below, then start the call again.',
  },
  insecure_context: {
    title: 'The browser allows no microphone at this address',
    advice: 'Open the page at its https address, or on the relay’s own machine.',
  },
  sdp_exchange_failed: {
    title: 'The relay would not take the call',
    advice: `${AGAIN} If it is refused again, tell whoever looks after the system.`,
  },
  ice_failed: {
    title: 'Sound cannot get through this network',
    advice: 'Its firewall may block calls. Try another network, or tell whoever looks after it.',
  },
  needs_gesture: {
    title: 'The browser keeps the sound off until you touch the page',
    advice: 'Press “Turn on the sound”.',
  },
  auth_failed: {
    title: 'The relay does not know this page',
    advice: 'Reload the page. If that does not help, it has to be signed in anew.',
  },
  auth_forbidden: {
    title: 'This page may not take orders by voice here',
    advice: 'Open it with a role that may: server, kiosk or manager.',
  },
  auth_expired: {
    title: 'This page’s sign-in has run out',
    advice: AGAIN,
  },
  connect_failed: {
    title: 'The relay does not answer',
    advice: `Check the network. ${AGAIN}`,
  },
  connect_timeout: {
    title: 'The call took too long to begin',
    advice: `Check the network. ${AGAIN}`,
  },
  aborted: {
    title: 'The call was ended',
    advice: 'Start it again when you are ready.',
  },
  disposed: {
    title: 'The voice panel was closed',
    advice: 'Open it again to start a call.',
  },
  not_initialized: {
    title: 'The page is not ready for a call',
    advice: RELOAD,
  },
  realtime_error: {
    title: 'The other side did not understand',
    advice: 'Say it again, in other words.',
  },
  internal: {
    title: 'Something in this page broke',
    advice: `It has let go of the microphone. ${RELOAD}`,
  },
  wasm_unavailable: {
    title: 'This browser is too old for calls',
    advice: 'Use a current browser on this device.',
  },
  protocol: {
    title: 'The other side said something this page does not understand',
    advice: `${AGAIN} If it happens again, tell whoever looks after the system.`,
  },
  invalid_argument: {
    title: 'This cannot be done in this call',
    advice: 'Choose something else, or hang up and start again.',
  },
  message_too_large: {
    title: 'That was too long to send',
    advice: 'Say it in fewer words.',
  },
  outbox_full: {
    title: 'Too much is waiting to be sent',
    advice: 'Wait a moment before you go on.',
  },
  outbox_expired: {
    title: 'What was waiting is too old to be sent',
    advice: 'Say it again.',
  },
  storage_unavailable: {
    title: 'This browser keeps nothing that waits to be sent',
    advice: 'Leave this page open until everything is sent.',
  },
  overflow: {
    title: 'More came than this page could keep',
    advice: `Hang up. ${AGAIN}`,
  },
  nack: {
    title: 'The relay refused the change',
    advice: 'Look at the order in the columns before you try again.',
  },
  request_timeout: {
    title: 'No answer came in time',
    advice: 'Look at the order in the columns before you try again.',
  },
  callback: {
    title: 'Something in this page failed',
    advice: 'The call goes on. If the panel looks wrong, reload the page.',
  },
  http_failed: {
    title: 'The relay did not do what it was asked',
    advice: AGAIN,
  },
};

const NO_VOICE: FaultWords = {
  title: 'This relay takes no calls',
  advice: 'Its operator has to switch voice on.',
};

/** Words for a call that the relay refused, by what it answered. */
const REFUSED: Readonly<Record<number, FaultWords>> = {
  401: FAULTS.auth_failed,
  403: FAULTS.auth_forbidden,
  404: NO_VOICE,
  // A relay of before there was voice.
  405: NO_VOICE,
  429: {
    title: 'Too many calls are open',
    advice: 'Hang up another call of this page, or try again in a minute.',
  },
  502: {
    title: 'The voice service behind the relay failed',
    advice: 'Wait a minute, then try the call again.',
  },
  503: {
    title: 'The relay is too busy for a call',
    advice: 'Wait a minute, then try the call again.',
  },
  504: {
    title: 'The voice service behind the relay does not answer',
    advice: 'Wait a minute, then try the call again.',
  },
};

/** Where a call stood when its time was up. */
const TOO_LATE: Readonly<Partial<Record<string, FaultWords>>> = {
  token: {
    title: 'The relay gave this page no leave to call',
    advice: `Check the network. ${AGAIN}`,
  },
  microphone: {
    title: 'The question about the microphone was not answered',
    advice: 'Start the call again and answer “Allow”.',
  },
  exchange: FAULTS.connect_failed,
  ice: FAULTS.ice_failed,
  channel: FAULTS.ice_failed,
};

const NOT_AS_ASKED: FaultWords = {
  title: 'The other side does not hold calls the way this page asks for them',
  advice: 'Whoever looks after this page has to change its settings. You can type and tap the order meanwhile.',
};

/** Words for a failure of whatever kind. */
export function faultWords(error: unknown): FaultWords {
  if (!(error instanceof TautlineError)) return FAULTS.internal;
  const { code, status, stage } = error;
  if (code === 'sdp_exchange_failed' && status === undefined && stage === 'exchange') return FAULTS.connect_failed;
  if ((code === 'sdp_exchange_failed' || code === 'http_failed') && status !== undefined) return REFUSED[status] ?? FAULTS[code];
  if (code === 'connect_timeout' && stage !== undefined) return TOO_LATE[stage] ?? FAULTS[code];
  if (code === 'realtime_error' && stage === 'settings') return NOT_AS_ASKED;
  return FAULTS[code];
}

/** What the peer itself says went wrong, by the codes of its `error` events; the call goes on. */
const COMPLAINTS: Readonly<Record<string, FaultWords>> = {
  rate_limit_exceeded: {
    title: 'That was too much at once',
    advice: 'Wait a moment before you go on.',
  },
  insufficient_quota: {
    title: 'The voice service has no credit left',
    advice: 'Take the order by hand, and tell whoever looks after the system.',
  },
  session_expired: {
    title: 'The call has reached its longest time',
    advice: 'Start a new call to go on.',
  },
};

/** Words for an `error` event of the peer's. */
export function complaintWords(code: unknown): FaultWords {
  const known = typeof code === 'string' && Object.hasOwn(COMPLAINTS, code) ? COMPLAINTS[code] : undefined;
  return known ?? FAULTS.realtime_error;
}

/** What a call may quietly suffer from. */
export const ALARMS: Readonly<Record<VoiceAlarm, FaultWords>> = {
  mic_silent: {
    title: 'The microphone is open, but gives no sound at all',
    advice: 'Check its switch and cable, or choose another one below.',
  },
  no_rtp_out: {
    title: 'Your voice is not getting through',
    advice: 'Check the network, or type meanwhile.',
  },
  no_audio_in: {
    title: 'The answer is not getting through',
    advice: 'Check the network. What is said appears in writing all the same.',
  },
};

export const MICROPHONE_OFF: FaultWords = {
  title: 'The microphone is switched off on this device',
  advice: 'Its own switch, a key or another program has muted it: switch it on there.',
};

/** The call in a few words. */
export const STATE_WORDS: Readonly<Record<VoiceState, string>> = {
  disconnected: 'No call',
  connecting: 'Calling',
  connected: 'In a call',
  unacknowledged: 'Waiting for the other side',
  reconnecting: 'Calling again',
  error: 'No call',
};

/** A score from 0 to 5 in a word. */
export function qualityWord(score: number): string {
  if (score >= 4) return 'Good';
  if (score >= 3) return 'Fair';
  return score >= 1.5 ? 'Poor' : 'Bad';
}

const MICROPHONE_FAULTS: ReadonlySet<FaultWords> = new Set([
  FAULTS.microphone_denied,
  FAULTS.microphone_dismissed,
  FAULTS.microphone_missing,
  FAULTS.microphone_in_use,
  FAULTS.microphone_overconstrained,
  FAULTS.microphone_ended,
  FAULTS.microphone_failed,
  FAULTS.insecure_context,
]);

/** Whether it is the microphone alone that keeps a call from being had. */
export function isMicrophoneFault(fault: FaultWords | null): boolean {
  return fault !== null && (MICROPHONE_FAULTS.has(fault) || fault === TOO_LATE['microphone']);
}
