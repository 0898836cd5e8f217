import { h, setAttribute, setText } from '../dom/h';
import { callWords, inCall, isLive, talkWords, transcriptLines, type VoiceFacts } from '../model/voice';
import type { DeviceChoice } from '../model/voice-devices';
import { icon } from './icons';
import { VoiceOrderView } from './voice-order';
import { VoiceSoundView } from './voice-sound';
import { TranscriptView } from './voice-transcript';

const TRANSPORTS = { webrtc: 'Direct', websocket: 'Through the web' } as const;

/** The voice panel: a guest speaks or types, and the order forms. What its controls mean is read off `data-voice`. */
export class VoiceView {
  readonly #state = h('span', { class: 'voice-state', role: 'status', 'data-testid': 'voice-state' });
  readonly #faultTitle = h('strong', {});
  readonly #faultAdvice = h('span', {});
  readonly #typeInstead = h('button', { type: 'button', class: 'button', 'data-voice': 'type-instead' }, 'Call without a microphone');
  readonly #fault = h('div', { class: 'voice-fault', role: 'alert', 'data-testid': 'voice-fault' }, this.#faultTitle, this.#faultAdvice, this.#typeInstead);
  readonly #gesture = h('button', { type: 'button', class: 'button voice-gesture', 'data-testid': 'voice-gesture' }, icon('sound'), 'Turn on the sound');
  readonly #transcript = new TranscriptView();
  readonly #order = new VoiceOrderView();
  readonly #text = h('input', { type: 'text', class: 'voice-text', 'aria-label': 'Type to the other side', placeholder: 'Or type the order', autocomplete: 'off', enterkeyhint: 'send', maxlength: 2_000, 'data-testid': 'voice-text' });
  readonly #send = h('button', { type: 'submit', class: 'button' }, 'Send');
  readonly #form = h('form', { class: 'voice-form', 'data-voice': 'say' }, this.#text, this.#send);
  readonly #sound: VoiceSoundView;
  readonly #modes = (['hold', 'open'] as const).map((mode) =>
    h('button', { type: 'button', class: 'station', 'data-voice': 'mode', 'data-mode': mode }, mode === 'hold' ? 'Hold to talk' : 'Open mic'));
  readonly #startWords = h('span', {});
  readonly #start = h('button', { type: 'button', class: 'voice-main voice-start', 'data-voice': 'start', 'data-testid': 'voice-start' }, icon('microphone'), this.#startWords);
  readonly #talkWords = h('span', {});
  readonly #talk = h('button', { type: 'button', class: 'voice-main voice-talk', 'data-voice': 'talk', 'data-testid': 'voice-talk', 'aria-keyshortcuts': 'Space' }, icon('microphone'), this.#talkWords);
  readonly #quiet = h('button', { type: 'button', class: 'button voice-quiet', 'data-voice': 'interrupt', 'data-testid': 'voice-interrupt', 'aria-label': 'Stop the answer' }, 'Stop');
  readonly #hangUp = h('button', { type: 'button', class: 'button voice-hang-up', 'data-voice': 'hang-up', 'data-testid': 'voice-hang-up' }, icon('hang-up'), 'Hang up');
  readonly #microphones = new PickerView('Microphone', 'microphone', 'This device’s usual microphone');
  readonly #speakers = new PickerView('Speaker', 'speaker', 'This device’s usual speaker');
  readonly #transports = (['webrtc', 'websocket'] as const).map((transport) =>
    h('button', { type: 'button', class: 'station', 'data-voice': 'transport', 'data-transport': transport, 'data-testid': `voice-${transport}` }, TRANSPORTS[transport]));
  readonly #devices = h('div', { class: 'voice-devices', id: 'voice-devices', hidden: true },
    this.#microphones.element,
    this.#speakers.element,
    h('div', { class: 'picker' },
      h('span', { id: 'voice-transport' }, 'How the call travels'),
      h('div', { class: 'voice-modes', role: 'group', 'aria-labelledby': 'voice-transport' }, ...this.#transports)));
  readonly #showDevices = h('button', { type: 'button', class: 'tool', 'data-voice': 'devices', 'data-testid': 'voice-devices', 'aria-controls': 'voice-devices', 'aria-expanded': 'false', 'aria-label': 'Microphone, speaker and connection', title: 'Microphone, speaker and connection' }, icon('settings'));
  readonly element: HTMLElement;

  constructor(samples: number) {
    this.#sound = new VoiceSoundView(samples);
    this.element = h(
      'aside',
      { class: 'voice', id: 'voice', 'aria-labelledby': 'voice-title', 'data-testid': 'voice' },
      h('header', { class: 'voice-head' },
        h('h2', { id: 'voice-title' }, 'Voice order'),
        this.#state,
        this.#quiet,
        h('button', { type: 'button', class: 'notice-close', 'data-voice': 'close', 'data-testid': 'voice-close', 'aria-label': 'Close the voice panel' }, '×')),
      h('div', { class: 'voice-body' }, this.#fault, this.#gesture, this.#transcript.element, this.#order.element),
      h('div', { class: 'voice-controls' },
        this.#form,
        this.#sound.element,
        this.#devices,
        h('div', { class: 'voice-settings' },
          h('div', { class: 'voice-modes', role: 'group', 'aria-label': 'When the microphone is open' }, ...this.#modes),
          this.#showDevices),
        h('div', { class: 'voice-call' }, this.#start, this.#talk, this.#hangUp)),
    );
  }

  update(facts: VoiceFacts): void {
    const { state, mode, talking, fault } = facts;
    const calling = inCall(state);
    const live = isLive(state);
    const { follows } = this.#transcript;
    setAttribute(this.element, 'data-state', state);
    setText(this.#state, callWords(facts));
    setAttribute(this.#fault, 'hidden', fault === null);
    setText(this.#faultTitle, fault?.title ?? '');
    setText(this.#faultAdvice, fault?.advice ?? '');
    setAttribute(this.#typeInstead, 'hidden', !facts.typeInstead);
    setAttribute(this.#gesture, 'hidden', !facts.needsGesture);
    this.#transcript.update(transcriptLines(facts.transcript));
    this.#order.update(facts.draft, live);
    this.#sound.update(facts);
    setAttribute(this.#send, 'disabled', !live);
    for (const button of this.#modes) {
      setAttribute(button, 'aria-pressed', String(button.dataset['mode'] === mode));
      setAttribute(button, 'disabled', calling && (!live || !facts.hasMicrophone));
    }
    for (const button of this.#transports) {
      setAttribute(button, 'aria-pressed', String(button.dataset['transport'] === facts.transport));
      setAttribute(button, 'disabled', calling && !live);
    }
    setAttribute(this.#start, 'hidden', calling);
    setText(this.#startWords, facts.lost ? 'Call again' : 'Start the call');
    setAttribute(this.#talk, 'hidden', !calling);
    setAttribute(this.#talk, 'disabled', !live || !facts.hasMicrophone);
    setAttribute(this.#talk, 'aria-pressed', String(talking));
    setAttribute(this.#talk, 'data-talking', talking);
    setText(this.#talkWords, talkWords(facts));
    setAttribute(this.#quiet, 'hidden', !facts.speaking.assistant);
    setAttribute(this.#hangUp, 'hidden', !calling);
    // Back to the usual microphone is a matter of the next call.
    this.#microphones.update(facts.devices.microphones, facts.microphone, calling && facts.microphone !== '');
    this.#speakers.update(facts.devices.speakers, facts.speaker, false);
    // Last, when everything has the size it will have.
    if (follows) this.#transcript.toEnd();
  }

  /** Moves the meters one frame on; answers whether they are still falling. */
  move(input: number, output: number, still: boolean): boolean {
    return this.#sound.move(input, output, still);
  }

  get text(): string {
    return this.#text.value.trim();
  }

  clearText(): void {
    this.#text.value = '';
  }

  /** Where somebody who has just opened the panel, or begun a call, goes on. */
  focusMain(): void {
    const main = this.#start.hidden ? this.#talk : this.#start;
    if (main.disabled) this.#text.focus();
    else main.focus({ preventScroll: true });
  }

  toggleDevices(): void {
    const shown = this.#devices.hidden;
    setAttribute(this.#devices, 'hidden', !shown);
    setAttribute(this.#showDevices, 'aria-expanded', String(shown));
  }

  get hasFocus(): boolean {
    return this.element.contains(document.activeElement);
  }

  /** Whether the focus is nowhere, or on a control that is no longer there to be pressed. */
  get focusIsLost(): boolean {
    const focused = document.activeElement;
    if (focused === null || focused === document.body) return true;
    return this.element.contains(focused) && (!focused.checkVisibility() || focused.matches(':disabled'));
  }

  /** Whether this is what is held to talk. */
  isTalk(target: EventTarget | null): boolean {
    return target instanceof Node && this.#talk.contains(target);
  }
}

/** A list of devices; the empty line is whatever the system takes by itself. */
class PickerView {
  readonly #usual: HTMLOptionElement;
  readonly #select: HTMLSelectElement;
  readonly element: HTMLElement;
  #shown: readonly DeviceChoice[] = [];

  constructor(label: string, picks: string, usual: string) {
    this.#usual = h('option', { value: '' }, usual);
    this.#select = h('select', { 'data-voice': picks, 'data-testid': `voice-${picks}` }, this.#usual);
    this.element = h('label', { class: 'picker' }, h('span', {}, label), this.#select);
  }

  update(choices: readonly DeviceChoice[], picked: string, usualBarred: boolean): void {
    if (choices !== this.#shown) {
      this.#shown = choices;
      this.#select.replaceChildren(this.#usual, ...choices.map(({ id, label }) => h('option', { value: id }, label)));
    }
    setAttribute(this.#usual, 'disabled', usualBarred);
    setAttribute(this.#select, 'disabled', choices.length === 0);
    if (this.#select.value !== picked) this.#select.value = picked;
  }
}
