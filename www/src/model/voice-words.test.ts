import { describe, expect, it } from 'vitest';
import { TautlineError } from 'tautline';
import { ERROR_CODES } from '../../../pkg/src/errors';
import { ALARMS, complaintWords, FAULTS, faultWords, MICROPHONE_OFF, qualityWord, type FaultWords } from './voice-words';

/** Words of the trade, which a waiter has no reason to know. */
const JARGON = /\b(ICE|SDP|UDP|TCP|TLS|RTP|STUN|WebRTC|WebSocket|WASM|WebAssembly|token|codec|channel|stage|null|undefined|error|exception|timeout|HTTP \d|\d{3})\b/i;

function check({ title, advice }: FaultWords): void {
  for (const words of [title, advice]) {
    expect(words).not.toMatch(JARGON);
    expect(words).not.toContain('_');
    expect(words.trim().length).toBeGreaterThan(8);
  }
  expect(title).not.toMatch(/\.$/);
  expect(advice).toMatch(/\.$/);
}

describe('what went wrong', () => {
  it.each(ERROR_CODES)('has words a waiter understands for %s', (code) => {
    expect(faultWords(new TautlineError(code, 'code talk'))).toBe(FAULTS[code]);
    check(FAULTS[code]);
  });

  it('covers the codes there are and no others, each with a title of its own', () => {
    expect(Object.keys(FAULTS).sort()).toEqual([...ERROR_CODES].sort());
    expect(new Set(Object.values(FAULTS).map(({ title }) => title)).size).toBe(ERROR_CODES.length);
  });

  it.each([401, 403, 404, 405, 429, 502, 503, 504])('says what the relay meant by %i', (status) => {
    const words = faultWords(new TautlineError('sdp_exchange_failed', 'x', { status }));
    expect(words).not.toBe(FAULTS.sdp_exchange_failed);
    check(words);
  });

  it('falls back on the code for an answer without words of its own, and on itself for what is no error of ours', () => {
    expect(faultWords(new TautlineError('sdp_exchange_failed', 'x', { status: 418 }))).toBe(FAULTS.sdp_exchange_failed);
    expect(faultWords(new Error('secret detail'))).toBe(FAULTS.internal);
    expect(faultWords(undefined)).toBe(FAULTS.internal);
  });

  it('calls a relay that cannot be reached by that name, and not one that refuses', () => {
    expect(faultWords(new TautlineError('sdp_exchange_failed', 'x', { stage: 'exchange' }))).toBe(FAULTS.connect_failed);
    expect(faultWords(new TautlineError('sdp_exchange_failed', 'x', { stage: 'answer' }))).toBe(FAULTS.sdp_exchange_failed);
  });

  it('tells apart where a call was stuck', () => {
    const late = (stage: 'token' | 'microphone' | 'ice') => faultWords(new TautlineError('connect_timeout', 'x', { stage }));
    const titles = [late('token'), late('microphone'), late('ice')].map(({ title }) => title);
    expect(new Set(titles).size).toBe(3);
    for (const stage of ['token', 'microphone', 'ice'] as const) check(late(stage));
    const refused = faultWords(new TautlineError('realtime_error', 'x', { stage: 'settings' }));
    check(refused);
    expect(refused).not.toBe(FAULTS.realtime_error);
  });
});

it('has words for what the peer complains of, known or not', () => {
  for (const code of ['rate_limit_exceeded', 'insufficient_quota', 'session_expired', 'toString', null, 7]) check(complaintWords(code));
  expect(complaintWords('rate_limit_exceeded')).not.toEqual(complaintWords('another'));
});

it('has words for what a call suffers from', () => {
  for (const words of [...Object.values(ALARMS), MICROPHONE_OFF]) check(words);
});

it('puts a score in a word', () => {
  expect([0, 1.4, 1.5, 2.9, 3, 3.9, 4, 5].map(qualityWord)).toEqual(['Bad', 'Bad', 'Poor', 'Poor', 'Fair', 'Fair', 'Good', 'Good']);
});
