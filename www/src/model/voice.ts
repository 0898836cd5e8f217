import type { TranscriptItem, VoiceState, VoiceStats, VoiceTransport } from 'tautline';
import type { Devices } from './voice-devices';
import type { OrderDraft } from './voice-order';
import type { TalkMode } from './voice-talk';
import { STATE_WORDS, type FaultWords } from './voice-words';

/** Everything one render of the voice panel shows. Levels are not among it: they move without one. */
export interface VoiceFacts {
  readonly state: VoiceState;
  readonly mode: TalkMode;
  /** The call has a microphone; one that is only typed in has none. */
  readonly hasMicrophone: boolean;
  /** The button is held, or the open microphone is heard. */
  readonly talking: boolean;
  readonly speaking: { readonly user: boolean; readonly assistant: boolean };
  readonly needsGesture: boolean;
  readonly fault: FaultWords | null;
  /** The call was lost for good: another one takes its conversation over. */
  readonly lost: boolean;
  /** What is wrong is the microphone: the call can be had without. */
  readonly typeInstead: boolean;
  readonly transcript: readonly TranscriptItem[];
  readonly draft: OrderDraft;
  /** Of the last seconds, oldest first, 0 to 5. */
  readonly scores: readonly number[];
  readonly rttMs: number | null;
  readonly path: VoiceStats['path'];
  /** What carries the call, or is to carry the next. */
  readonly transport: VoiceTransport;
  readonly devices: Devices;
  readonly microphone: string;
  readonly speaker: string;
}

/** Whether there is a call, or one on its way: what is not to be started again. */
export function inCall(state: VoiceState): boolean {
  return state !== 'disconnected' && state !== 'error';
}

/** Whether the other side hears and answers now. */
export function isLive(state: VoiceState): boolean {
  return state === 'connected';
}

/** The call in a few words, or who is heard in it. */
export function callWords({ state, speaking, talking }: Pick<VoiceFacts, 'state' | 'speaking' | 'talking'>): string {
  if (!isLive(state)) return STATE_WORDS[state];
  if (speaking.assistant) return 'Answering';
  return speaking.user || talking ? 'Listening' : STATE_WORDS[state];
}

/** What the big button says. */
export function talkWords({ state, mode, hasMicrophone, talking }: Pick<VoiceFacts, 'state' | 'mode' | 'hasMicrophone' | 'talking'>): string {
  if (state === 'connecting') return 'Calling…';
  if (state === 'reconnecting') return 'The call was lost. Calling again…';
  if (state === 'unacknowledged') return 'Waiting for the other side…';
  if (!hasMicrophone) return 'No microphone in this call: please type';
  if (mode === 'hold') return talking ? 'Let go to send' : 'Hold to talk';
  return talking ? 'Microphone is open' : 'Microphone is off';
}

/** A line of the transcript, as it is read. */
export interface TranscriptLine {
  readonly id: string;
  readonly who: 'guest' | 'answer';
  readonly text: string;
  /** `text` is not what was said, but a remark on it. */
  readonly remark: boolean;
  readonly forming: boolean;
  readonly interrupted: boolean;
}

/** The lines people read: what only the model was told is none of them, nor an answer without a word so far. */
export function transcriptLines(items: readonly TranscriptItem[]): readonly TranscriptLine[] {
  return items.flatMap((item): TranscriptLine[] => {
    if (item.role === 'system') return [];
    const who = item.role === 'user' ? 'guest' : 'answer';
    const forming = item.state === 'pending' || item.state === 'partial';
    const words = item.text?.trim() ?? '';
    if (words !== '') return [{ id: item.id, who, text: words, remark: false, forming, interrupted: item.interrupted }];
    const remark = remarkOf(item);
    return remark === null ? [] : [{ id: item.id, who, text: remark, remark: true, forming, interrupted: item.interrupted }];
  });
}

function remarkOf({ role, state, interrupted }: TranscriptItem): string | null {
  if (role === 'assistant') return interrupted ? 'Cut off before a word was heard' : null;
  if (state === 'failed') return 'Spoken, but not understood';
  return state === 'final' ? 'Spoken' : 'Speaking';
}
