import type { VoiceTransport } from 'tautline';
import { Frame, Scope } from './dom/scope';
import { inCall, isLive, type VoiceFacts } from './model/voice';
import { devicesOf, NO_DEVICES, stillThere, type Devices } from './model/voice-devices';
import { EMPTY_DRAFT } from './model/voice-order';
import { TalkHold, type TalkMode } from './model/voice-talk';
import { isMicrophoneFault } from './model/voice-words';
import { VoiceView } from './view/voice';
import { SCORES_KEPT, VoiceCall } from './voice-call';
import { attachVoiceInput } from './voice-input';

/** What a panel without a call says of one. */
const NO_CALL = {
  state: 'disconnected',
  hasMicrophone: true,
  speaking: { user: false, assistant: false },
  needsGesture: false,
  fault: null,
  lost: false,
  transcript: [],
  draft: EMPTY_DRAFT,
  scores: [],
  stats: null,
} as const;

/** What the panel needs of the page around it. */
export interface VoicePanelOptions {
  readonly getToken: () => Promise<string>;
  readonly close: () => void;
}

/**
 * The voice panel while it is open: at most one call, and what is picked for it. Closed, nothing of it is left: no
 * call, no listener, no frame. What an ended call has said stays to be read until the next one begins.
 */
export class VoicePanel {
  readonly #scope = new Scope();
  readonly #frame = new Frame(() => this.#draw());
  readonly #levelFrame = new Frame(() => this.#moveLevels());
  readonly #view = new VoiceView(SCORES_KEPT);
  readonly #hold = new TalkHold();
  readonly #lessMotion = matchMedia('(prefers-reduced-motion: reduce)');
  #call: VoiceCall | null = null;
  #wasLive = false;
  #focusOwed = false;
  #mode: TalkMode = 'hold';
  #devices: Devices = NO_DEVICES;
  #microphone = '';
  #speaker = '';
  #transport: VoiceTransport = 'webrtc';
  #input = 0;
  #output = 0;

  constructor(private readonly options: VoicePanelOptions) {
    this.#scope.add(() => {
      this.#frame.cancel();
      this.#levelFrame.cancel();
    });
    this.#scope.add(() => this.#call?.dispose());
    attachVoiceInput(this, this.#view, this.#scope);
    const { mediaDevices } = navigator;
    // Where the address is not secure there is none.
    if (mediaDevices) this.#scope.listen(mediaDevices, 'devicechange', () => void this.#readDevices());
    void this.#readDevices();
    this.#draw();
  }

  get element(): HTMLElement {
    return this.#view.element;
  }

  /** Ends the call and lets go of everything. */
  dispose(): void {
    this.#scope.dispose();
    this.#call = null;
  }

  focus(): void {
    this.#view.focusMain();
  }

  // What a person asks for, by touch or by key.

  close(): void {
    this.options.close();
  }

  start(withMicrophone = true): void {
    this.#hold.releaseAll();
    if (this.#call?.lost && withMicrophone === this.#call.hasMicrophone) return this.#call.resume();
    this.#call?.dispose();
    const microphone = withMicrophone ? this.#microphone : null;
    const call = new VoiceCall({ mode: this.#mode, microphone, speaker: this.#speaker, transport: this.#transport }, this.options.getToken, {
      changed: this.#frame.request,
      level: (input, output) => this.#level(input, output),
    });
    this.#call = call;
    call.start();
  }

  hangUp(): void {
    this.#hold.releaseAll();
    this.#call?.hangUp();
  }

  get talkMode(): TalkMode {
    return this.#mode;
  }

  /** Whether there is somebody to talk to. */
  get canTalk(): boolean {
    return this.#call !== null && isLive(this.#call.state) && this.#call.hasMicrophone;
  }

  /** The talk button, or its key, is held by one more. */
  press(holder: string): void {
    if (this.canTalk && this.#hold.press(holder)) this.#talk(true);
  }

  release(holder: string): void {
    if (this.#hold.release(holder)) this.#talk(false);
  }

  releaseAll(): void {
    if (this.#hold.releaseAll()) this.#talk(false);
  }

  /** One press begins to talk and another ends it: for those who cannot hold, and for an open microphone. */
  toggleTalk(): void {
    const call = this.#call;
    if (!call || !this.canTalk) return;
    if (call.mode === 'open') call.setMuted(call.unmuted);
    else this.#talk(this.#hold.toggle());
  }

  setMode(mode: TalkMode): void {
    this.releaseAll();
    this.#mode = mode;
    if (this.#call && isLive(this.#call.state)) this.#call.setMode(mode);
    this.#frame.request();
  }

  say(): void {
    const { text } = this.#view;
    if (text !== '' && this.#call?.say(text)) this.#view.clearText();
  }

  submit(): void {
    this.#call?.submit();
  }

  interrupt(): void {
    this.#call?.interrupt();
  }

  /** The browser lets sound be made in a gesture only: each one is a chance. */
  touched(): void {
    if (this.#call?.needsGesture) this.#call.resumeAudio();
  }

  pickMicrophone(id: string): void {
    this.#microphone = id;
    if (this.#call && inCall(this.#call.state) && this.#call.hasMicrophone && id !== '') this.#call.pickMicrophone(id);
    this.#frame.request();
  }

  pickSpeaker(id: string): void {
    this.#speaker = id;
    if (this.#call && inCall(this.#call.state)) this.#call.pickSpeaker(id);
    this.#frame.request();
  }

  /** How the call travels, and those to come. */
  pickTransport(transport: VoiceTransport): void {
    this.#transport = transport;
    if (this.#call && isLive(this.#call.state) && this.#call.transport !== transport) {
      this.#hold.releaseAll();
      this.#call.setTransport(transport);
    }
    this.#frame.request();
  }

  #talk(on: boolean): void {
    this.#call?.talk(on);
    this.#frame.request();
  }

  async #readDevices(): Promise<void> {
    // Older browsers, and addresses that are not secure, list nothing.
    const infos = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    this.#devices = devicesOf(infos);
    this.#microphone = stillThere(this.#microphone, this.#devices.microphones);
    this.#speaker = stillThere(this.#speaker, this.#devices.speakers);
    this.#frame.request();
  }

  #level(input: number, output: number): void {
    this.#input = input;
    this.#output = output;
    this.#levelFrame.request();
  }

  #moveLevels(): void {
    if (this.#view.move(this.#input, this.#output, this.#lessMotion.matches)) this.#levelFrame.request();
  }

  #draw(): void {
    const facts = this.#facts();
    const live = isLive(facts.state);
    if (!live) this.#hold.releaseAll();
    const hadFocus = this.#view.hasFocus;
    this.#view.update(facts);
    // A control that went away takes the focus with it: it comes back to what takes that control's place.
    this.#focusOwed = (hadFocus || this.#focusOwed) && this.#view.focusIsLost;
    if (this.#focusOwed && (live || !inCall(facts.state))) this.#view.focusMain();
    // Devices have names from the moment the microphone is allowed.
    if (live && !this.#wasLive) void this.#readDevices();
    this.#wasLive = live;
  }

  #facts(): VoiceFacts {
    const { state, hasMicrophone, speaking, needsGesture, fault, lost, transcript, draft, scores, stats } = this.#call ?? NO_CALL;
    const mode = this.#call && inCall(state) ? this.#call.mode : this.#mode;
    return {
      state,
      mode,
      hasMicrophone,
      talking: isLive(state) && hasMicrophone && (mode === 'hold' ? this.#hold.held : this.#call?.unmuted === true),
      speaking,
      needsGesture,
      fault,
      lost,
      typeInstead: !inCall(state) && isMicrophoneFault(fault),
      transcript,
      draft,
      scores,
      rttMs: stats?.rttMs ?? null,
      path: stats?.path ?? null,
      transport: this.#call && inCall(state) ? this.#call.transport : this.#transport,
      devices: this.#devices,
      microphone: this.#microphone,
      speaker: this.#speaker,
    };
  }
}
