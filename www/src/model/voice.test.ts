import { describe, expect, it } from 'vitest';
import type { TranscriptItem } from 'tautline';
import { callWords, inCall, isLive, talkWords, transcriptLines } from './voice';

const item = (change: Partial<TranscriptItem>): TranscriptItem => ({ id: 'i', role: 'user', text: null, state: 'final', interrupted: false, ...change });

describe('the transcript', () => {
  it('shows what was said as it forms, in order, and whose it is', () => {
    const lines = transcriptLines([
      item({ id: 'a', text: 'two burgers', state: 'final' }),
      item({ id: 'b', role: 'assistant', text: 'Two bur', state: 'partial' }),
      item({ id: 'c', role: 'system', text: 'be kind' }),
    ]);
    expect(lines).toEqual([
      { id: 'a', who: 'guest', text: 'two burgers', remark: false, forming: false, interrupted: false },
      { id: 'b', who: 'answer', text: 'Two bur', remark: false, forming: true, interrupted: false },
    ]);
  });

  it('marks what was cut off', () => {
    const [cut, unheard] = transcriptLines([
      item({ id: 'a', role: 'assistant', text: 'That makes', interrupted: true }),
      item({ id: 'b', role: 'assistant', text: '', interrupted: true }),
    ]);
    expect(cut).toMatchObject({ text: 'That makes', interrupted: true, remark: false });
    expect(unheard).toMatchObject({ text: 'Cut off before a word was heard', interrupted: true, remark: true });
  });

  it('says of speech without words that there was some, and never invents any', () => {
    const remarks = (['pending', 'final', 'failed'] as const).map((state) => transcriptLines([item({ state })])[0]);
    expect(remarks.map((line) => [line?.text, line?.remark])).toEqual([['Speaking', true], ['Spoken', true], ['Spoken, but not understood', true]]);
    expect(transcriptLines([item({ role: 'assistant', state: 'pending' })])).toEqual([]);
  });
});

describe('the state of a call', () => {
  const quiet = { user: false, assistant: false };

  it('is live only when the other side has confirmed it', () => {
    const states = ['disconnected', 'connecting', 'connected', 'unacknowledged', 'reconnecting', 'error'] as const;
    expect(states.filter(isLive)).toEqual(['connected']);
    expect(states.filter(inCall)).toEqual(['connecting', 'connected', 'unacknowledged', 'reconnecting']);
  });

  it('says who is heard', () => {
    expect(callWords({ state: 'connected', speaking: quiet, talking: false })).toBe('In a call');
    expect(callWords({ state: 'connected', speaking: quiet, talking: true })).toBe('Listening');
    expect(callWords({ state: 'connected', speaking: { user: false, assistant: true }, talking: false })).toBe('Answering');
    expect(callWords({ state: 'reconnecting', speaking: { user: false, assistant: true }, talking: false })).toBe('Calling again');
  });

  it('tells the button what to say', () => {
    const hold = { state: 'connected', mode: 'hold', hasMicrophone: true, talking: false } as const;
    expect(talkWords(hold)).toBe('Hold to talk');
    expect(talkWords({ ...hold, talking: true })).toBe('Let go to send');
    expect(talkWords({ ...hold, mode: 'open', talking: true })).toBe('Microphone is open');
    expect(talkWords({ ...hold, mode: 'open' })).toBe('Microphone is off');
    expect(talkWords({ ...hold, hasMicrophone: false })).toContain('type');
    expect(talkWords({ ...hold, state: 'reconnecting' })).toContain('again');
  });
});
