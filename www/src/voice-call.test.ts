import { beforeEach, describe, expect, it, vi } from 'vitest';
import { TautlineError } from 'tautline';
import { FAULTS } from './model/voice-words';
import { VoiceCall } from './voice-call';
import { Line } from './voice-fixture';

vi.mock('tautline', async (original) => ({ ...(await original<object>()), VoiceConnection: (await import('./voice-fixture')).Line }));

function call(plan: object = {}) {
  const changed = vi.fn();
  const made = new VoiceCall({ mode: 'hold', microphone: '', speaker: '', transport: 'webrtc', ...plan }, async () => 'token', { changed, level: vi.fn() });
  return { call: made, line: Line.last, changed };
}

const burger = { items: [{ menu_item_id: 'burger', name: 'Burger', quantity: 1 }] };
const tool = (name: string, args: object = {}, callId = `call_${name}`) => ({ callId, name, arguments: JSON.stringify(args) });
const outputOf = (callId: string, output: object) => ({ type: 'conversation.item.added', item: { type: 'function_call_output', call_id: callId, output: JSON.stringify(output) } });

beforeEach(() => {
  Line.made = [];
  vi.useRealTimers();
});

describe('how it is begun', () => {
  it('is muted until held, or open from the start, with the microphone that was picked or none', () => {
    expect(call().line.options).toMatchObject({ startMuted: true, microphone: {} });
    expect(call({ mode: 'open', microphone: 'headset' }).line.options).toMatchObject({ startMuted: false, microphone: { deviceId: { ideal: 'headset' } } });
    expect(call({ microphone: null }).line.options).toMatchObject({ microphone: false });
  });

  it('says why it could not be', async () => {
    const { call: refused, line } = call();
    line.refusal = new TautlineError('microphone_denied', 'x');
    refused.start();
    await vi.waitFor(() => expect(refused.fault).toBe(FAULTS.microphone_denied));
  });

  it('says nothing of what the page itself broke off', async () => {
    const { call: ended, line, changed } = call();
    line.refusal = new TautlineError('aborted', 'x');
    ended.start();
    await Promise.resolve();
    await Promise.resolve();
    expect(ended.fault).toBeNull();
    expect(changed).toHaveBeenCalled();
  });
});

describe('how it travels', () => {
  it('is as it was picked, or as it could be had, and as the call itself says it does', () => {
    const { call: taken, line } = call();
    expect(line.options).toMatchObject({ transport: 'webrtc', fallback: 'websocket' });
    line.tell('fallback', { from: 'webrtc', to: 'websocket' });
    expect(taken.transport).toBe('websocket');
    line.tell('stats', { path: 'udp', score: 5, alarms: [] });
    expect(taken.transport).toBe('webrtc');
    taken.setTransport('websocket');
    expect([taken.transport, line.did]).toEqual(['websocket', ['reconnect websocket']]);
  });
});

describe('the order', () => {
  it('is built by the page, which answers the call and asks for the next word', () => {
    const { call: taken, line } = call();
    line.tell('tool.call', tool('add_to_order', burger));
    expect(taken.draft.lines).toMatchObject([{ name: 'Burger', quantity: 1 }]);
    expect(line.sent.map(({ type }) => type)).toEqual(['conversation.item.create', 'response.create']);
    expect(line.sent[0]).toMatchObject({ item: { type: 'function_call_output', call_id: 'call_add_to_order' } });
  });

  it('is submitted by the relay: the page only waits for the answer to that call', () => {
    const { call: taken, line } = call();
    line.tell('tool.call', tool('add_to_order', burger));
    line.sent.length = 0;
    line.tell('tool.call', tool('submit_order'));
    expect(line.sent).toEqual([]);
    expect(taken.draft.phase).toBe('sending');
    line.tell('event:conversation.item.added', outputOf('call_other', { ok: true, order: { id: 'no' } }));
    expect(taken.draft.phase).toBe('sending');
    line.tell('event:conversation.item.added', outputOf('call_submit_order', { ok: true, order: { id: 'o', order_number: '7' } }));
    expect(taken.draft).toMatchObject({ phase: 'sent', answer: '7', orderId: 'o' });
    taken.dispose();
  });

  it('is not called sent when no answer comes, or the call ends first', () => {
    vi.useFakeTimers();
    const waited = call();
    waited.line.tell('tool.call', tool('submit_order', burger));
    vi.advanceTimersByTime(60_000);
    expect(waited.call.draft).toMatchObject({ phase: 'refused', lines: [{ name: 'Burger' }] });
    const ended = call();
    ended.line.tell('tool.call', tool('submit_order', burger));
    ended.call.hangUp();
    expect(ended.call.draft.phase).toBe('refused');
    expect(vi.getTimerCount()).toBe(0);
  });

  it('refuses a tool it does not have, in words the model can use', () => {
    const { line } = call();
    line.tell('tool.call', tool('launch_rocket'));
    expect(JSON.stringify(line.sent[0])).toContain('no such tool');
    expect(line.sent[1]).toEqual({ type: 'response.create' });
  });
});

describe('what went wrong', () => {
  it('is said until somebody tries again', () => {
    const { call: had, line } = call();
    line.tell('error', new TautlineError('realtime_error', 'x', { serverCode: 'rate_limit_exceeded' }));
    expect(had.fault?.title).toMatch(/too much/);
    expect(had.say('again')).toBe(true);
    expect(had.fault).toBeNull();
  });

  it('is said of what could not be sent, and the page keeps the words', () => {
    const { call: had, line } = call();
    line.refusal = new TautlineError('message_too_large', 'x');
    expect(had.say('a novel')).toBe(false);
    expect(had.fault).toBe(FAULTS.message_too_large);
  });

  it('is not forgotten because the model calls a tool', () => {
    const { call: had, line } = call();
    line.tell('microphone.ended', { replaced: false });
    line.tell('tool.call', tool('add_to_order', burger));
    expect(had.fault).toBe(FAULTS.microphone_ended);
  });

  it('is only news when another microphone took its place', () => {
    const { call: had, line } = call();
    line.tell('microphone.ended', { replaced: true });
    expect(had.fault).toBeNull();
  });

  it('names what a call quietly suffers from, for as long as it does', () => {
    const { call: had, line } = call();
    line.state = 'connected';
    line.tell('stats', { score: 2, alarms: ['mic_silent'] });
    expect(had.fault?.title).toMatch(/no sound/);
    line.tell('stats', { score: 4, alarms: [] });
    expect(had.fault).toBeNull();
    expect(had.scores).toEqual([2, 4]);
  });
});

it('that is lost for good can be taken up again, until it is hung up', async () => {
  const { call: had, line } = call();
  line.tell('reconnect.needed', new TautlineError('connect_failed', 'x'));
  expect([had.lost, had.fault]).toEqual([true, FAULTS.connect_failed]);
  had.resume();
  expect(line.did).toEqual(['reconnect']);
  line.tell('connected');
  expect([had.lost, had.fault]).toEqual([false, null]);
  line.tell('reconnect.needed', new TautlineError('connect_failed', 'x'));
  had.hangUp();
  expect(had.lost).toBe(false);
});

it('says whose turn it is when the mode changes in a call', () => {
  const { call: had, line } = call();
  had.setMode('open');
  expect(line.sent[0]).toMatchObject({ type: 'session.update', session: { audio: { input: { turn_detection: { type: 'server_vad' } } } } });
  had.setMode('hold');
  expect(line.sent[1]).toMatchObject({ session: { audio: { input: { turn_detection: null } } } });
  expect(line.did).toEqual(['enableMicrophone', 'disableMicrophone']);
  expect(had.mode).toBe('hold');
});

it('ends with its connection', () => {
  const { call: had, line } = call();
  had.dispose();
  expect(line.did).toEqual(['dispose']);
});
