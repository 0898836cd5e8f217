import { TautlineError, VoiceConnection, type RealtimeEvent, type ToolCall, type TranscriptItem, type VoiceState, type VoiceStats, type VoiceTransport } from 'tautline';
import { Scope } from './dom/scope';
import { Samples } from './model/sparkline';
import { isLive } from './model/voice';
import { abandoned, addToOrder, EMPTY_DRAFT, submitted, submitting, type OrderDraft } from './model/voice-order';
import type { TalkMode } from './model/voice-talk';
import { ALARMS, complaintWords, FAULTS, faultWords, MICROPHONE_OFF, type FaultWords } from './model/voice-words';
import { isQuiet } from './session';

/** One score a second: what the panel shows of a call's quality. */
export const SCORES_KEPT = 180;
/** After this long without an answer an order counts as not sent. */
const SUBMIT_WAIT_MS = 15_000;

/** A relay that is started again takes some seconds, and a guest would rather wait than begin anew. */
const RECONNECTS = 8;

/** How a call is begun. */
export interface CallPlan {
  readonly mode: TalkMode;
  /** A device's id, `''` for the system's usual one, `null` to call without a microphone. */
  readonly microphone: string | null;
  /** A device's id, `''` for the system's usual one. */
  readonly speaker: string;
  /** What the call is tried over first. */
  readonly transport: VoiceTransport;
}

/** What a call tells the panel. */
export interface CallEvents {
  changed(): void;
  level(input: number, output: number): void;
}

/**
 * One call, from its start until it is disposed of: the connection, what was said in it, the order it is about, and
 * what is wrong with it. The order's tool is run here; everything else about the conversation the client decides.
 */
export class VoiceCall {
  readonly #scope = new Scope();
  readonly #connection: VoiceConnection;
  readonly #scores = new Samples(SCORES_KEPT);
  #mode: TalkMode;
  #stats: VoiceStats | null = null;
  #draft: OrderDraft = EMPTY_DRAFT;
  #submitCall: string | null = null;
  #submitTimer: ReturnType<typeof setTimeout> | null = null;
  #fault: FaultWords | null = null;
  #needsGesture = false;
  #lost = false;
  #speaking = { user: false, assistant: false };
  #transport: VoiceTransport;

  constructor(
    private readonly plan: CallPlan,
    getToken: () => Promise<string>,
    private readonly events: CallEvents,
  ) {
    this.#mode = plan.mode;
    this.#transport = plan.transport;
    this.#connection = new VoiceConnection({
      getToken,
      startMuted: plan.mode === 'hold',
      maxReconnectAttempts: RECONNECTS,
      transport: plan.transport,
      // A network that keeps the call's packets back has orders all the same.
      fallback: 'websocket',
      // What guests say is shown: without this only the answers would be.
      session: { audio: { input: { transcription: { model: 'gpt-4o-mini-transcribe' } } } },
      microphone: plan.microphone === null ? false : plan.microphone === '' ? {} : { deviceId: { ideal: plan.microphone } },
    });
    this.#scope.add(() => this.#connection.dispose());
    this.#scope.add(() => this.#stopWaiting());
    this.#listen();
  }

  get state(): VoiceState {
    return this.#connection.getConnectionState();
  }

  get mode(): TalkMode {
    return this.#mode;
  }

  get hasMicrophone(): boolean {
    return this.plan.microphone !== null;
  }

  /** Whether an open microphone is heard. */
  get unmuted(): boolean {
    return !this.#connection.isMuted();
  }

  get transcript(): readonly TranscriptItem[] {
    return this.#connection.transcript();
  }

  get draft(): OrderDraft {
    return this.#draft;
  }

  get fault(): FaultWords | null {
    const alarm = this.#stats?.alarms[0];
    return this.#fault ?? (alarm !== undefined && isLive(this.state) ? ALARMS[alarm] : null);
  }

  get needsGesture(): boolean {
    return this.#needsGesture;
  }

  get speaking(): { readonly user: boolean; readonly assistant: boolean } {
    return this.#speaking;
  }

  get stats(): VoiceStats | null {
    return this.#stats;
  }

  get scores(): readonly number[] {
    return this.#scores.values();
  }

  /** What carries the call. */
  get transport(): VoiceTransport {
    return this.#transport;
  }

  start(): void {
    if (this.plan.speaker !== '') this.pickSpeaker(this.plan.speaker);
    this.#settle(this.#connection.connect());
    this.events.changed();
  }

  /** The call was lost and does not come back by itself: what was said in it can be taken into another. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Another call in the lost one's place, with its conversation. */
  resume(): void {
    this.#fault = null;
    this.#settle(this.#connection.reconnect());
    this.events.changed();
  }

  /** The call goes on over the other, with its conversation and its order. */
  setTransport(transport: VoiceTransport): void {
    this.#fault = null;
    this.#transport = transport;
    this.#settle(this.#connection.reconnect({ transport }));
    this.events.changed();
  }

  hangUp(): void {
    this.#fault = null;
    this.#lost = false;
    this.#needsGesture = false;
    this.#connection.disconnect();
    this.#over();
  }

  /** Ends the call and everything it holds. */
  dispose(): void {
    this.#scope.dispose();
  }

  /** A hold of the talk button began or ended. */
  talk(on: boolean): void {
    this.#asked(() => {
      if (on) this.#connection.startTalking();
      else this.#connection.stopTalking();
    });
  }

  /** An open microphone is muted or heard again. */
  setMuted(muted: boolean): void {
    this.#asked(() => {
      if (muted) this.#connection.disableMicrophone();
      else this.#connection.enableMicrophone();
    });
  }

  /** Whose turn it is becomes the page's to say, or the peer's to hear. */
  setMode(mode: TalkMode): void {
    this.#asked(() => {
      this.#connection.send({ type: 'session.update', session: { type: 'realtime', audio: { input: { turn_detection: mode === 'hold' ? null : { type: 'server_vad' } } } } });
      this.#mode = mode;
      if (mode === 'hold') this.#connection.disableMicrophone();
      else this.#connection.enableMicrophone();
    });
  }

  /** Says something in writing; answers whether it was sent. */
  say(text: string): boolean {
    return this.#asked(() => {
      this.#connection.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] } });
      this.#connection.send({ type: 'response.create' });
    });
  }

  submit(): void {
    this.say('That is all. Submit the order.');
  }

  interrupt(): void {
    this.#asked(() => this.#connection.interrupt());
  }

  resumeAudio(): void {
    this.#settle(this.#connection.resumeAudio().then(() => {
      this.#needsGesture = false;
    }));
  }

  pickMicrophone(id: string): void {
    this.#settle(this.#connection.setMicrophoneDevice(id));
  }

  pickSpeaker(id: string): void {
    this.#settle(this.#connection.setOutputDevice(id));
  }

  #listen(): void {
    const call = this.#connection;
    const { changed } = this.events;
    call.on('transcript', changed);
    call.on('level', ({ input, output }) => this.events.level(input, output));
    call.on('tool.call', (tool) => this.#attempt(() => this.#run(tool)));
    call.on('event:conversation.item.added', (event) => this.#answered(event));
    call.on('connection.change', (state) => {
      if (state === 'disconnected' || state === 'error') this.#over();
      changed();
    });
    call.on('connected', () => {
      this.#fault = null;
      this.#lost = false;
      changed();
    });
    call.on('fallback', ({ to }) => {
      this.#transport = to;
      changed();
    });
    call.on('stats', (stats) => {
      this.#stats = stats;
      // After a loss WebRTC is tried again, and may be had.
      if (stats.path !== null) this.#transport = stats.path === 'websocket' ? 'websocket' : 'webrtc';
      if (stats.score !== null) this.#scores.push(stats.score);
      changed();
    });
    call.on('speaking', (speaking) => {
      this.#speaking = speaking;
      changed();
    });
    call.on('needsGesture', () => {
      this.#needsGesture = true;
      changed();
    });
    call.on('microphone.ended', ({ replaced }) => {
      if (!replaced) this.#blame(FAULTS.microphone_ended);
    });
    call.on('microphone.denied', (error) => this.#blame(faultWords(error)));
    call.on('microphone.muted', ({ muted, by }) => {
      if (by === 'system') this.#blame(muted ? MICROPHONE_OFF : null);
      changed();
    });
    call.on('reconnect.needed', (error) => {
      this.#lost = true;
      this.#blame(faultWords(error));
    });
    call.on('error', (error) => this.#blame(error.code === 'realtime_error' ? complaintWords(error.serverCode) : faultWords(error)));
  }

  /** Runs the page's tool. `submit_order` is the relay's to run; what it answers comes as an item of the conversation. */
  #run({ callId, name, arguments: args }: ToolCall): void {
    if (name === 'submit_order') {
      this.#stopWaiting();
      this.#draft = submitting(this.#draft, args);
      this.#submitCall = callId;
      this.#submitTimer = setTimeout(() => this.#abandon(), SUBMIT_WAIT_MS);
      return;
    }
    let output = JSON.stringify({ ok: false, error: 'This page has no such tool.' });
    if (name === 'add_to_order') ({ draft: this.#draft, output } = addToOrder(this.#draft, args));
    this.#connection.send({ type: 'conversation.item.create', item: { type: 'function_call_output', call_id: callId, output } });
    this.#connection.send({ type: 'response.create' });
  }

  #answered({ item }: RealtimeEvent): void {
    const answer = item as { readonly type?: unknown; readonly call_id?: unknown; readonly output?: unknown } | undefined;
    if (answer?.type !== 'function_call_output' || this.#submitCall === null || answer.call_id !== this.#submitCall) return;
    this.#stopWaiting();
    this.#draft = submitted(this.#draft, typeof answer.output === 'string' ? answer.output : '');
    this.events.changed();
  }

  #over(): void {
    this.#speaking = { user: false, assistant: false };
    this.#abandon();
    this.events.level(0, 0);
  }

  #abandon(): void {
    this.#stopWaiting();
    this.#draft = abandoned(this.#draft);
    this.events.changed();
  }

  #stopWaiting(): void {
    if (this.#submitTimer !== null) clearTimeout(this.#submitTimer);
    this.#submitTimer = null;
    this.#submitCall = null;
  }

  #blame(fault: FaultWords | null): void {
    this.#fault = fault;
    this.events.changed();
  }

  /** Somebody asked for something: what the last one was told is read by now. */
  #asked(action: () => void): boolean {
    this.#fault = null;
    return this.#attempt(action);
  }

  /** Does what may be refused at once; answers whether it was done. */
  #attempt(action: () => void): boolean {
    try {
      action();
    } catch (error) {
      if (!(error instanceof TautlineError)) throw error;
      if (!isQuiet(error)) this.#fault = faultWords(error);
      return false;
    } finally {
      this.events.changed();
    }
    return true;
  }

  #settle(work: Promise<void>): void {
    work.then(this.events.changed, (error: unknown) => {
      if (!isQuiet(error)) this.#blame(faultWords(error));
    });
  }
}
