// A call's layer over the real module, under Node, where there is no WebRTC: what it checks, and what it says then.
// Calls that come about are the browser tests'.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { mock, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { initSync, resources, TautlineError, VoiceConnection, WebRTCConnection } from '../dist/index.js';
import { Rtc, confirms } from '../dist/rtc.js';
import { merged, voiceOptions } from '../dist/voice-options.js';

initSync(await readFile(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));

const options = { relay: 'https://relay.example', getToken: () => 'ek_secret' };
const rejected = (promise) => promise.then(() => assert.fail('resolved'), (error) => error);

test('arguments are checked, and the message says what to pass instead', async () => {
  const wrong = [
    [() => new VoiceConnection(7), /takes an object/],
    [() => new VoiceConnection({ relay: 'ftp://x.example' }), /relay takes an http/],
    [() => new VoiceConnection({ relay: 'https://a.example', callsUrl: 'https://b.example' }), /not both/],
    [() => new VoiceConnection({ fallback: 'fax' }), /fallback takes one of none, websocket/],
    [() => new VoiceConnection({ transport: 'fax' }), /transport takes/],
    [() => new VoiceConnection({ socketUrl: 'wss://x.example' }), /socketUrl takes an http/],
    [() => new VoiceConnection({ connectTimeoutMs: 0 }), /connectTimeoutMs/],
    [() => new VoiceConnection({ maxReconnectAttempts: 1.5 }), /whole number/],
    [() => new VoiceConnection({ microphone: 'yes' }), /microphone takes an object/],
    [() => new VoiceConnection({ getToken: 'ek_x' }), /getToken takes a function/],
    [() => new VoiceConnection({ session: [] }), /session takes an object/],
  ];
  for (const [call, message] of wrong) assert.throws(call, (error) => error.code === 'invalid_argument' && message.test(error.message), String(call));
  const call = new VoiceConnection(options);
  assert.throws(() => call.send({}), /send\({type}\) takes a string/);
  assert.throws(() => call.on('connected'), /takes a function/);
  const secret = await rejected(call.connect({ secret: 'ek_12345' }));
  assert.ok(secret.code === 'invalid_argument' && !secret.message.includes('ek_12345'));
  assert.equal((await rejected(call.setMicrophoneStream({}))).code, 'invalid_argument');
  assert.equal((await rejected(call.connect('ek_x', { signal: {} }))).code, 'invalid_argument');
  call.dispose();
});

test('addresses', () => {
  const url = (given) => voiceOptions(given).config.url;
  assert.equal(url({ relay: 'https://relay.example' }), 'https://relay.example/v1/realtime/calls');
  assert.equal(url({ relay: 'https://relay.example/v1/' }), 'https://relay.example/v1/realtime/calls');
  assert.equal(url({ relay: 'https://relay.example/voice' }), 'https://relay.example/voice/v1/realtime/calls');
  assert.equal(url({ callsUrl: 'https://api.openai.com/v1/realtime/calls' }), 'https://api.openai.com/v1/realtime/calls');
  assert.equal(url({}), '/v1/realtime/calls');
  assert.equal(voiceOptions({ callsUrl: 'https://api.openai.com/v1/realtime/calls' }).config.hangup, false);
  const socket = (given) => new Rtc({ ...voiceOptions(given).config, session: {} }).socketUrl();
  assert.equal(socket({ relay: 'https://relay.example' }), 'wss://relay.example/v1/realtime');
  assert.equal(socket({ relay: 'http://127.0.0.1:1/', restaurantId: 'r', model: 'm' }), 'ws://127.0.0.1:1/v1/realtime?restaurant_id=r&model=m');
  assert.equal(socket({ callsUrl: 'https://api.openai.com/v1/realtime/calls' }), 'wss://api.openai.com/v1/realtime');
  assert.equal(socket({ relay: 'https://a.example', socketUrl: 'https://b.example/live?x=1' }), 'wss://b.example/live?x=1');
  assert.deepEqual(new Rtc({}).protocols('ek_1'), ['realtime', 'openai-insecure-api-key.ek_1']);
  assert.match(voiceOptions({}).config.workletUrl, /\/dist\/worklet\.js/);
  assert.equal(voiceOptions({ workletUrl: new URL('https://cdn.example/w.js') }).config.workletUrl, 'https://cdn.example/w.js');
});

test('formats are the transport\'s, whatever a session says of them', () => {
  const pcmu = { type: 'audio/pcmu' };
  const { audio } = voiceOptions({ session: { audio: { input: { format: pcmu, transcription: null }, output: { format: pcmu, voice: 'marin' } } } }).session;
  assert.deepEqual(audio, { input: { transcription: null }, output: { voice: 'marin' } });
  assert.deepEqual(voiceOptions({ session: { instructions: 'x' } }).session, { type: 'realtime', instructions: 'x' });
});

test('a piece of sound is as long as its base64 says', () => {
  const rtc = new Rtc({ session: {} });
  for (const samples of [0, 1, 2, 3, 480]) {
    const delta = Buffer.alloc(2 * samples).toString('base64');
    const event = { type: 'response.output_audio.delta', response_id: 'r', item_id: 'i', content_index: 0, delta };
    assert.equal(rtc.read(event)[4], samples);
  }
  assert.equal(rtc.read({ type: 'response.output_audio.delta', delta: 7 })[4], undefined);
});

test('push-to-talk ends turns itself, unless the page wants the server to', () => {
  const turns = (given) => voiceOptions(given).session.audio?.input?.turn_detection;
  assert.equal(turns({}), undefined);
  assert.equal(turns({ startMuted: true }), null);
  assert.deepEqual(turns({ startMuted: true, session: { audio: { input: { turn_detection: { type: 'server_vad' } } } } }), { type: 'server_vad' });
  assert.deepEqual(merged({ a: { b: 1, c: [1] } }, { a: { c: [2] }, d: null }), { a: { b: 1, c: [2] }, d: null });
});

test('a session is confirmed when everything asked for is in it', () => {
  const theirs = {
    type: 'realtime', instructions: 'short', tools: [{ type: 'function', name: 'f', parameters: {} }], tracing: null,
    audio: { input: { turn_detection: null, format: { type: 'audio/pcm', rate: 24000 } }, output: { voice: 'marin', speed: 1.1 } },
  };
  for (const ours of [
    { type: 'realtime' },
    { instructions: 'short' },
    { tools: [{ type: 'function', name: 'f', strict: true }] },
    { audio: { input: { turn_detection: null } } },
    { audio: { output: { speed: 1.1000000001 } } },
    { prompt: null },
  ]) assert.ok(confirms(ours, theirs), JSON.stringify(ours));
  for (const ours of [
    { instructions: 'long' },
    { tools: [] },
    { tools: [{ type: 'function', name: 'g' }] },
    { audio: { input: { turn_detection: { type: 'server_vad' } } } },
    { audio: { output: { speed: 1 } } },
    { model: 'x' },
    { tracing: 'auto' },
  ]) assert.ok(!confirms(ours, theirs), JSON.stringify(ours));
  assert.ok(!confirms({ type: 'realtime' }, undefined));
});

test('events are read whatever is in them', () => {
  const rtc = new Rtc({ url: '', hangup: false, microphone: false, session: {} });
  for (const type of ['session.updated', 'response.created', 'response.done', 'conversation.item.added', 'response.output_item.done', 'error', 'x']) {
    for (const more of [{}, { item: null, response: null, error: null, session: null }, { item: 7, response: 'x' }, { item: { type: 'message', content: [null, 7] } }]) {
      assert.doesNotThrow(() => rtc.read({ type, ...more }), type);
    }
  }
  assert.equal(rtc.read({ type: 'response.created', response: { id: 'r', conversation_id: null } }), undefined, 'beside the conversation');
});

test('without WebRTC a connect says so, and nothing is left', async () => {
  const call = new VoiceConnection({ ...options, microphone: false });
  const states = [];
  call.on('connection.change', (state) => states.push(state));
  const error = await rejected(call.connect());
  assert.ok(error instanceof TautlineError);
  assert.deepEqual([error.code, error.stage, error.cause?.name], ['connect_failed', 'offer', 'ReferenceError']);
  assert.deepEqual(states, ['connecting', 'error']);
  assert.deepEqual(resources.list(), []);
  assert.throws(() => call.send({ type: 'response.create' }), { code: 'connect_failed' });
  assert.deepEqual([call.transcript(), call.getPeerConnection(), call.getDataChannel(), call.getMicrophoneStream()], [[], null, null, null]);
  assert.equal((await call.stats()).score, null);
  call.dispose();
});

test('disposed is disposed', async () => {
  const call = new VoiceConnection(options);
  call.dispose();
  call.dispose();
  assert.equal((await rejected(call.connect())).code, 'disposed');
  assert.equal((await rejected(call.setupMicrophone())).code, 'disposed');
  assert.throws(() => call.send({ type: 'a' }), { code: 'disposed' });
  call.disconnect();
  call.on('connected', () => {})();
  assert.equal(call.getConnectionState(), 'disconnected');
  assert.equal(WebRTCConnection, VoiceConnection);
  assert.deepEqual(resources.list(), []);
});

test('a trap ends everything', async () => {
  const { provokeTrap } = await import('../wasm/tautline.js');
  const call = new VoiceConnection({ ...options, getToken: () => new Promise(() => {}) });
  const told = [];
  call.on('connection.change', (state) => told.push(state));
  call.on('error', ({ code }) => told.push(code));
  assert.throws(() => provokeTrap());
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(told, ['error', 'internal']);
  assert.equal(call.getConnectionState(), 'error');
  assert.equal((await rejected(call.connect())).code, 'internal');
  assert.throws(() => call.startTalking(), { code: 'internal' });
  call.dispose();
});
