// `@openai/agents-realtime` over a WebSocket, in Node: only the address is ours.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { SAID } from '../e2e/harness/planted.mjs';
import { Waiter } from './agents.mjs';
import { assertOrdered, calls, hungUp, ORDER, secret, startRelay } from './kit.mjs';
import { joined, pieces, share, silence, tone, ulaw } from './sound.mjs';

let relay;
before(async () => {
  relay = await startRelay();
});
after(() => relay?.stop());

const NARROW = { rate: 8_000 };
/** Sound in an eighth of the bytes: twenty seconds are not too many, and their echo is long enough to be interrupted. */
const ULAW = { audio: { input: { format: { type: 'audio/pcmu' } } } };

/** A session of its own, over when the test is. */
async function open(t, name, options) {
  const waiter = new Waiter('websocket', relay.url, options);
  t.after(() => waiter.session.close());
  const session = await waiter.connect(await secret(relay, name));
  return { waiter, session };
}

const speak = (waiter, samples) => {
  for (const piece of pieces(samples)) waiter.session.sendAudio(piece.buffer);
};

function speakLong(waiter) {
  const samples = joined([tone(20_000, NARROW), silence(800, NARROW)]);
  for (const piece of pieces(samples, { ...NARROW, ms: 500 })) waiter.session.sendAudio(ulaw(piece).buffer);
}

const faultless = (waiter) => assert.deepEqual(waiter.faults, { errors: [], withoutId: [] });
const spoken = ({ output }) => output.map(({ content }) => content?.[0].transcript).join();

test('a text turn', async (t) => {
  const { waiter, session } = await open(t, 'text');
  // The SDK's second update, about tracing, is merged into its first.
  assert.deepEqual(session.tools.map(({ name }) => name), ['add_to_order', 'submit_order']);
  assert.equal(session.model, 'gpt-realtime-2.1');
  const response = await waiter.say(SAID);
  assert.equal(response.status, 'completed');
  assert.ok(spoken(response).includes(SAID));
  const { text } = await waiter.told.next('agent_end');
  assert.equal(text, spoken(response));
  assert.deepEqual(waiter.history, [
    { role: 'user', status: 'completed', text: SAID },
    { role: 'assistant', status: 'completed', text },
  ]);
  assert.ok(waiter.sound.length > 0, 'words of its own are heard as tones');
  faultless(waiter);
});

test('a text turn without sound', async (t) => {
  const { waiter, session } = await open(t, 'written', { config: { outputModalities: ['text'] } });
  assert.deepEqual(session.output_modalities, ['text']);
  const response = await waiter.say('good morning');
  assert.match(response.output[0].content[0].text, /good morning/);
  assert.equal(waiter.heard.all('response.output_text.delta').map(({ delta }) => delta).join(''), response.output[0].content[0].text);
  assert.equal(waiter.sound.length, 0);
  assert.equal(waiter.history[1].text, response.output[0].content[0].text);
  faultless(waiter);
});

test('an audio turn, ended by turn detection', async (t) => {
  const { waiter } = await open(t, 'audio');
  speak(waiter, joined([silence(300), tone(800), silence(800)]));
  await waiter.heard.next('input_audio_buffer.speech_started');
  await waiter.heard.next('input_audio_buffer.speech_stopped');
  await waiter.heard.next('input_audio_buffer.committed');
  const { item } = await waiter.heard.next('conversation.item.done');
  assert.deepEqual(item.content, [{ type: 'input_audio', transcript: null }]);
  const response = await waiter.done();
  assert.match(spoken(response), /^I heard 0\.8 s of sound, .* near 440 Hz/);
  // What it says is what it heard.
  const back = joined(waiter.sound.map((bytes) => new Int16Array(bytes)));
  assert.ok(back.length >= 0.8 * 24_000 && back.length < 2 * 24_000, `${back.length} samples came back`);
  assert.ok(share(back, 440) > 0.4 && share(back, 660) < 0.01, `440 Hz: ${share(back, 440)}, 660 Hz: ${share(back, 660)}`);
  // The transcript's usage is of a shape that the SDK takes: it asks for the item.
  const { transcript } = await waiter.heard.next('conversation.item.input_audio_transcription.completed');
  await waiter.heard.next('conversation.item.retrieved', (event) => event.item.id === item.id);
  assert.deepEqual(waiter.history, [
    { role: 'user', status: 'completed', text: transcript },
    { role: 'assistant', status: 'completed', text: spoken(response) },
  ]);
  await waiter.told.next('audio_start');
  await waiter.told.next('audio_stopped');
  faultless(waiter);
});

test('a turn that the client ends', async (t) => {
  const { waiter } = await open(t, 'committed', { config: { audio: { input: { turnDetection: null } } } });
  speak(waiter, tone(500));
  waiter.session.transport.sendEvent({ type: 'input_audio_buffer.commit' });
  waiter.session.transport.sendEvent({ type: 'response.create' });
  assert.match(spoken(await waiter.done()), /^I heard 0\.5 s of sound/);
  assert.equal(waiter.heard.all('input_audio_buffer.speech_started').length, 0);
  faultless(waiter);
});

test('function calls: one that the SDK runs, one that the relay runs', async (t) => {
  const { waiter } = await open(t, 'order');
  await waiter.say(ORDER);
  assert.match(spoken(await waiter.done()), /^The order so far: 2 Bacon burger \(no pickles\), 1 small Cola/);
  assert.deepEqual(waiter.ran, [{ items: [{ name: 'Bacon burger', quantity: 2 }, { name: 'Cola', quantity: 1 }] }]);
  // The SDK's own list has the call once, with what the tool gave back.
  assert.deepEqual(waiter.history[1], { call: 'add_to_order', status: 'completed', output: 'added' });
  const added = waiter.heard.all('conversation.item.added').filter(({ item }) => item.type === 'function_call_output');
  assert.deepEqual(added.map(({ item }) => item.output), ['added']);

  await waiter.say("that's all");
  assert.match(spoken(await waiter.done()), /^Order \d+ went to the kitchen/);
  assert.equal((await waiter.told.next('tool_approval_requested')).name, 'submit_order');
  await assertOrdered(relay, 'order');
  faultless(waiter);
});

test('a client that answers submit_order itself is told so, and one order is made', async (t) => {
  const { waiter } = await open(t, 'twice', { submits: true });
  await waiter.say(ORDER);
  await waiter.done();
  await waiter.say("that's all");
  assert.match(spoken(await waiter.done()), /^Order \d+ went to the kitchen/);
  const { error } = await waiter.heard.next('error');
  assert.equal(error.code, 'invalid_tool_call_id');
  await assertOrdered(relay, 'twice');
  // The SDK has asked for an answer itself, before or after that one; the conversation goes on.
  waiter.session.sendMessage('good bye');
  await waiter.heard.next('response.done', ({ response }) => /good bye/.test(spoken(response)));
  const answers = waiter.heard.all('response.done').map(({ response }) => spoken(response));
  assert.ok(!answers.some((text) => /nothing in the order/.test(text)), 'an order on its way is not denied');
});

test('interrupted by the client', async (t) => {
  const { waiter } = await open(t, 'stopped', { config: ULAW });
  speakLong(waiter);
  for (let n = 0; n < 3; n += 1) await waiter.heard.next('response.output_audio.delta');
  waiter.session.interrupt();
  const response = await waiter.done();
  assert.deepEqual([response.status, response.status_details.reason], ['cancelled', 'client_cancelled']);
  const { audio_end_ms, item_id } = await waiter.heard.next('conversation.item.truncated');
  assert.equal(item_id, response.output[0].id);
  assert.ok(audio_end_ms < 20_000, `${audio_end_ms} ms were heard`);
  await waiter.told.next('audio_interrupted');
  assert.match(spoken(await waiter.say('are you there')), /are you there/);
  faultless(waiter);
});

test('interrupted by a voice', async (t) => {
  const { waiter } = await open(t, 'barge-in', { config: ULAW });
  speakLong(waiter);
  await waiter.heard.next('response.output_audio.delta');
  const words = joined([tone(600, NARROW), silence(800, NARROW)]);
  for (const piece of pieces(words, { ...NARROW, ms: 200 })) waiter.session.sendAudio(ulaw(piece).buffer);
  const response = await waiter.done();
  assert.deepEqual([response.status, response.status_details.reason], ['cancelled', 'turn_detected']);
  await waiter.told.next('audio_interrupted');
  await waiter.heard.next('conversation.item.truncated', ({ item_id }) => item_id === response.output[0].id);
  assert.match(spoken(await waiter.done()), /^I heard 0\.6 s of sound/);
  faultless(waiter);
});

test('a second response.create is refused by its name, and the next one leaves', async (t) => {
  const { waiter } = await open(t, 'two-at-once', { config: ULAW });
  // The SDK does not know yet that its sound will be answered.
  speakLong(waiter);
  waiter.session.sendMessage('and another thing');
  const { error } = await waiter.heard.next('error');
  assert.equal(error.code, 'conversation_already_has_active_response');
  assert.match(error.event_id, /^agents_js_response_create_/);
  waiter.session.interrupt();
  assert.equal((await waiter.done()).status, 'cancelled');
  assert.match(spoken(await waiter.say('and the last')), /and the last/);
});

test('the history is rewritten by the client', async (t) => {
  const { waiter } = await open(t, 'history');
  await waiter.say('first');
  const [first] = waiter.session.history;
  waiter.session.updateHistory([{ ...first, itemId: 'item_of_the_client', content: [{ type: 'input_text', text: 'changed' }] }]);
  await waiter.heard.next('conversation.item.deleted', ({ item_id }) => item_id === first.itemId);
  await waiter.heard.next('conversation.item.done', ({ item }) => item.id === 'item_of_the_client');
  assert.deepEqual(waiter.history, [{ role: 'user', status: 'completed', text: 'changed' }]);
  faultless(waiter);
});

test('settings in the names that they had before, and one that is refused', async (t) => {
  const config = { voice: 'cedar', inputAudioFormat: 'g711_ulaw', outputAudioFormat: 'g711_alaw', turnDetection: { type: 'server_vad', silenceDurationMs: 250 } };
  const { waiter, session } = await open(t, 'settings', { config });
  assert.deepEqual([session.audio.input.format.type, session.audio.output.format.type, session.audio.output.voice], ['audio/pcmu', 'audio/pcma', 'cedar']);
  assert.deepEqual([session.audio.input.turn_detection.type, session.audio.input.turn_detection.silence_duration_ms], ['server_vad', 250]);
  await waiter.say('good morning');
  waiter.session.transport.updateSessionConfig({ audio: { output: { voice: 'marin' } } });
  assert.equal((await waiter.heard.next('error')).error.code, 'cannot_update_voice');
  assert.match(spoken(await waiter.say('good bye')), /good bye/);
});

test('an image stops nothing', async (t) => {
  const { waiter } = await open(t, 'image');
  waiter.session.addImage('data:image/png;base64,iVBORw0KGgo=');
  assert.equal((await waiter.done()).status, 'completed');
  assert.match(spoken(await waiter.say('good bye')), /good bye/);
  faultless(waiter);
});

test('a policy: what it locks stays, a secret begins one session, and that ends when it has to', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'tautline-policy-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'policy.toml');
  writeFileSync(file, '["*"]\nroles = ["kiosk"]\ninstructions = "Sell cola."\nsingle_use = true\nmax_length_s = 2\n');
  const strict = await startRelay({ args: ['--voice-policy', file] });
  t.after(() => strict.stop());
  const key = await secret(strict, 'policy');
  const waiter = new Waiter('websocket', strict.url);
  t.after(() => waiter.session.close());
  await waiter.session.connect({ apiKey: key });
  for (let n = 0; n < 2; n += 1) assert.equal((await waiter.heard.next('session.updated')).session.instructions, 'Sell cola.');
  // It asked for instructions of its own, and is told that they are not its to say; the session goes on.
  const { error } = await waiter.heard.next('error');
  assert.deepEqual([error.code, error.param], ['fixed_by_policy', 'session.instructions']);
  const again = new Waiter('websocket', strict.url);
  await assert.rejects(again.session.connect({ apiKey: key }), ({ message }) => /401/.test(message));
  // An event of the relay's own, which the SDK passes over.
  await waiter.heard.next('tautline.session.expiring');
  assert.equal((await waiter.heard.next('error')).error.code, 'session_expired');
  await waiter.told.next('connection disconnected');
  await hungUp(strict, 'policy');
});

test('hanging up', async (t) => {
  const { waiter } = await open(t, 'end');
  assert.deepEqual((await calls(relay, 'end')).map(({ transport, user_id }) => [transport, user_id]), [['websocket', 'end']]);
  waiter.session.close();
  await waiter.told.next('connection disconnected');
  await hungUp(relay, 'end');
  faultless(waiter);
});

test('a key that is none is refused', async (t) => {
  const waiter = new Waiter('websocket', relay.url);
  t.after(() => waiter.session.close());
  await assert.rejects(waiter.session.connect({ apiKey: 'ek_nobody_ever_made_this_one' }), ({ message }) => /401/.test(message));
});
