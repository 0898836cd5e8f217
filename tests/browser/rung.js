// A call over a WebSocket: against the relay, or against a script.

import { browser, check, ledger, noneUnhandled, nothingLive, pause, rejection, same, until } from './host.js';
import { Peer } from './peer.js';
import { Script, ear } from './script.js';
import { realtimeSocket, restaurant, secret } from './server.js';
import { call, connect, ended, givenUp, nothingOfACall, send, stub, stuck } from './voice.js';

const SCRIPT = 'voice.example';
const SESSION = { type: 'realtime' };

/** A call to the relay. */
function toRelay(VoiceConnection, options = {}) {
  const id = restaurant('rung');
  return call(VoiceConnection, { socketUrl: realtimeSocket(), overSocket: true, session: SESSION, getToken: () => secret(id), ...options });
}

/** A call to a script. */
function toScript(VoiceConnection, options = {}) {
  const script = new Script(SCRIPT);
  return { script, ...call(VoiceConnection, { overSocket: true, session: SESSION, ...options }) };
}

/** A call to the relay that goes on, for the test that kills the module. */
export async function rungConnected(VoiceConnection) {
  await connect(toRelay(VoiceConnection).connection);
}

const say = (connection, text) => {
  send(connection, { type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] } });
  send(connection, { type: 'response.create' });
};

export async function rungConnects({ VoiceConnection }) {
  const { connection, values, heardOf, states } = toRelay(VoiceConnection);
  await connect(connection);
  same(states(), ['connecting', 'connected'], 'states');
  same([connection.getDataChannel(), connection.getPeerConnection()], [undefined, undefined], 'no channel');
  await heardOf('level');
  const { listeners, timers, sockets, peers, tracks, contexts, worklets } = browser();
  const { listener, timer, socket, peer_connection = 0, media_track, audio_context, audio_element, worklet } = ledger();
  same([listener, timer, socket, peer_connection, media_track, audio_context, worklet], [listeners, timers, sockets, peers, tracks, contexts, worklets], 'ledger and browser');
  same([sockets, peers, tracks, audio_element, worklets, contexts], [1, 0, 1, 1, 2, 2], 'of each');
  // The fake microphone beeps; turn detection hears it, and it is said back.
  await heardOf('track.received');
  await until('heard', () => values('level').some(({ input }) => input > 0.01) && values('level').some(({ output }) => output > 0.01));
  await until('speaking', () => values('speaking').some(({ assistant }) => assistant));
  await until('what was heard', () => connection.transcript().some(({ role, text }) => role === 'assistant' && /\d/.test(text ?? '')));
  const stats = await until('a second of it', () => values('stats').find(({ bitrateOut, bitrateIn }) => bitrateOut > 0 && bitrateIn > 0));
  same([stats.path, stats.alarms, stats.underruns, stats.unsentMs], ['websocket', [], 0, 0], 'how it goes');
  connection.setMuted(true);
  say(connection, 'two bacon burgers no pickles and a cola');
  await heardOf('tool.call');
  const [{ name, arguments: args }] = values('tool.call');
  same([name, JSON.parse(args).items.map(({ quantity }) => quantity)], ['add_to_order', [2, 1]], 'an order');
  same(values('error'), [], 'errors');
  connection.disconnect();
  same(connection.getConnectionState(), 'disconnected', 'state');
  await nothingOfACall();
  await ended(connection);
}

export async function rungIsFallenBackTo({ VoiceConnection }) {
  const id = restaurant('rung');
  // Packets that go nowhere, and a server that has no calls over WebRTC.
  for (const [make, stage, code] of [
    [(peer) => (peer.stall = 'ice'), 'ice', 'connect_timeout'],
    [(peer) => (peer.refusal = { status: 404, error: {} }), 'exchange', 'sdp_exchange_failed'],
  ]) {
    const peer = new Peer();
    make(peer);
    const options = { overSocket: false, fallsBack: true, timeoutMs: 6_000, getToken: () => secret(id) };
    const { connection, values, heardOf, states } = toRelay(VoiceConnection, options);
    await connect(connection);
    same(states(), ['connecting', 'connected'], 'states');
    same(values('fallback').map(({ from, to, reason }) => [from, to, reason.code, reason.stage]), [['webrtc', 'websocket', code, stage]], 'told');
    if (code === 'connect_timeout') same(values('fallback')[0].reason.timeoutMs, 2_000, 'a third of it');
    same([ledger().peer_connection, ledger().socket, browser().peers], [undefined, 1, 0], 'only a socket');
    await heardOf('stats');
    same(values('stats')[0].path, 'websocket', 'path');
    say(connection, 'a cola');
    await heardOf('tool.call');
    connection.disconnect();
    await nothingOfACall();
    await ended(connection, peer);
  }
}

export async function rungIsSwitchedTo({ VoiceConnection }) {
  const peer = new Peer();
  const { connection, values, states } = toRelay(VoiceConnection, { overSocket: false });
  await connect(connection);
  peer.say({ type: 'conversation.item.done', previous_item_id: null, item: { id: 'item_u', type: 'message', role: 'user', status: 'completed', content: [{ type: 'input_text', text: 'a cola' }] } });
  await until('said', () => connection.transcript().length === 1);
  connection.setMuted(true);
  await connection.reconnect(undefined, true);
  same([ledger().socket, ledger().peer_connection], [1, undefined], 'on a socket');
  await until('its own word', () => values('dataChannelMessage').some(({ type, item }) => type === 'conversation.item.added' && item.id === 'item_u'));
  same(connection.transcript().map(({ id, text }) => [id, text]), [['item_u', 'a cola']], 'one transcript');
  await connection.reconnect(undefined, false);
  same([ledger().socket, ledger().peer_connection, states().at(-1)], [undefined, 1, 'connected'], 'and back');
  await ended(connection, peer);
}

/** A call to a script whose answer of five seconds is being heard; `ear` listens to it. */
async function answering(VoiceConnection, options) {
  const made = toScript(VoiceConnection, { muted: true, ...options });
  const { script, connection, values, heardOf } = made;
  await connect(connection);
  await heardOf('track.received');
  const listener = await ear(values('track.received')[0]);
  script.say({ type: 'response.created', response: { id: 'r' } });
  for (let n = 0; n < 25; n += 1) script.sound('r', 'a', 200);
  await until('heard', () => values('speaking').some(({ assistant }) => assistant));
  return { ...made, listener };
}

export async function rungIsInterrupted({ VoiceConnection }) {
  // At a second of five, then at any moment.
  for (const ms of [1_000, ...Array.from({ length: 4 }, () => Math.random() * 1_500)]) {
    const { script, connection, values, listener } = await answering(VoiceConnection);
    await until('so much', async () => (await listener.heard()).ms >= ms);
    connection.interrupt();
    same(values('speaking').at(-1), { user: false, assistant: false }, 'at once');
    await until('told', () => script.of('conversation.item.truncate').length === 1);
    const [{ item_id, content_index, audio_end_ms }] = script.of('conversation.item.truncate');
    same([item_id, content_index, Number.isInteger(audio_end_ms)], ['a', 0, true], 'what');
    same(script.of('response.cancel').map(({ response_id }) => response_id), ['r'], 'and its response');
    // What still comes of it is not heard.
    script.sound('r', 'a', 500);
    await pause(300);
    const heard = await listener.heard();
    check(Math.abs(heard.ms - audio_end_ms) <= 40, `heard ${heard.ms} ms, said ${audio_end_ms}`);
    check(heard.loudMs > heard.ms - 40, `without a hole: ${heard.loudMs} of ${heard.ms}`);
    await listener.end();
    await ended(connection, script);
  }
}

export async function rungGivesWay({ VoiceConnection }) {
  // What is heard after the word that somebody speaks, in samples; the least of three, as this machine has other things to do.
  const after = [];
  for (let n = 0; n < 3; n += 1) {
    const { script, connection, listener } = await answering(VoiceConnection);
    const before = (await listener.heard()).ms;
    script.say({ type: 'input_audio_buffer.speech_started', item_id: 'u', audio_start_ms: 0 });
    await until('told', () => script.of('conversation.item.truncate').length === 1);
    await pause(200);
    after.push((await listener.heard()).ms - before);
    await listener.end();
    await ended(connection, script);
  }
  check(Math.min(...after) <= 50, `silent within 50 ms: ${after}`);

  const { script, connection, values, listener } = await answering(VoiceConnection);
  await until('some', async () => (await listener.heard()).ms >= 500);
  script.say({ type: 'input_audio_buffer.speech_started', item_id: 'u', audio_start_ms: 0 });
  await until('told', () => script.of('conversation.item.truncate').length === 1);
  await pause(200);
  const { ms } = await listener.heard();
  check(Math.abs(ms - script.of('conversation.item.truncate')[0].audio_end_ms) <= 40, 'where it was heard');
  same(script.of('response.cancel'), [], 'the server has ended it');
  same(values('speaking').at(-1), { user: true, assistant: false }, 'who is heard');
  // The next answer begins.
  script.say({ type: 'response.done', response: { id: 'r' } });
  script.say({ type: 'input_audio_buffer.speech_stopped', item_id: 'u', audio_end_ms: 0 });
  script.say({ type: 'response.created', response: { id: 's' } });
  script.sound('s', 'b', 40);
  script.say({ type: 'response.output_audio.done', response_id: 's', item_id: 'b', output_index: 0, content_index: 0 });
  script.say({ type: 'response.done', response: { id: 's' } });
  await until('short as it is', () => values('speaking').filter(({ assistant }) => assistant).length === 2);
  await until('its end', () => !values('speaking').at(-1).assistant);
  await listener.end();
  await ended(connection, script);
}

export async function rungIsPushToTalk({ VoiceConnection }) {
  const { script, connection } = toScript(VoiceConnection, { muted: true });
  await connect(connection);
  await pause(200);
  same(script.types(), ['session.update'], 'nothing spoken');
  script.events.length = 0;
  connection.talk(true);
  await pause(500);
  connection.talk(false);
  await until('a turn', () => script.types().at(-1) === 'response.create');
  const types = script.types();
  same([types[0], types.at(-2)], ['input_audio_buffer.clear', 'input_audio_buffer.commit'], 'in this order');
  const spoken = script.of('input_audio_buffer.append').map(({ audio }) => atob(audio).length / 48);
  const ms = spoken.reduce((sum, one) => sum + one, 0);
  check(ms > 350 && ms < 700, `what was held: ${ms} ms`);
  check(spoken.slice(0, -1).every((one) => one === 40), `pieces of 40 ms: ${spoken}`);
  script.events.length = 0;
  await pause(200);
  connection.talk(true);
  connection.talk(false);
  await until('a slip', () => script.events.length === 2);
  await pause(100);
  same(script.types(), ['input_audio_buffer.clear', 'input_audio_buffer.clear'], 'taken back');
  script.events.length = 0;
  connection.setMuted(false);
  await until('an open microphone', () => script.of('input_audio_buffer.append').length > 3);
  connection.setMuted(true);
  const before = script.events.length;
  await pause(200);
  same(script.events.length, before, 'muted');
  await ended(connection, script);
}

export async function rungChangesItsMicrophone({ VoiceConnection }) {
  const { script, connection, values, heardOf } = toScript(VoiceConnection);
  await connect(connection);
  const pieces = async (what) => {
    const before = script.of('input_audio_buffer.append').length;
    await until(what, () => script.of('input_audio_buffer.append').slice(before).some(({ audio }) => /[^A=]/.test(audio)));
  };
  await pieces('spoken');
  const devices = await navigator.mediaDevices.enumerateDevices();
  await connection.setMicrophoneDevice(devices.filter(({ kind, deviceId }) => kind === 'audioinput' && deviceId !== 'default').at(-1).deviceId);
  await pieces('into another');
  const [track] = connection.getMicrophoneStream().getAudioTracks();
  track.stop();
  track.dispatchEvent(new Event('ended'));
  await heardOf('microphone.ended');
  await until('another', () => connection.getMicrophoneStream()?.getAudioTracks()[0] !== track);
  await pieces('into that');
  same([values('microphone.ended'), script.sockets.length, browser().tracks], [[{ replaced: true }], 1, 1], 'the same call');
  await ended(connection, script);
}

export async function rungHasHoles({ VoiceConnection }) {
  const { script, connection, values, heardOf } = toScript(VoiceConnection, { muted: true });
  await connect(connection);
  await heardOf('track.received');
  script.say({ type: 'response.created', response: { id: 'r' } });
  for (let n = 0; n < 6; n += 1) {
    script.sound('r', 'a', 100);
    await pause(600);
  }
  await until('counted', () => values('stats').some(({ underruns }) => underruns >= 4));
  await until('in the score', () => values('stats').some(({ score }) => score <= 2));
  same(values('speaking'), [{ user: false, assistant: true }], 'one answer');
  await ended(connection, script);
}

export async function rungIsStuck({ VoiceConnection }) {
  const { script, connection, values } = toScript(VoiceConnection);
  await connect(connection);
  // What is written stays where it is.
  script.onEvent = ({ size }) => (script.buffered += size);
  await until('noticed', () => values('disconnection').length === 1, 30_000);
  same(values('disconnection').map(({ reason, willReconnect }) => [reason, willReconnect]), [['network', true]], 'why');
  check(script.buffered <= 300 * 1024, `never more than the mark: ${script.buffered}`);
  await ended(connection, script);
}

export async function rungComesBack({ VoiceConnection }) {
  const { script, connection, values, heardOf, states } = toScript(VoiceConnection);
  await connect(connection);
  script.say({ type: 'conversation.item.done', previous_item_id: null, item: { id: 'u', type: 'message', role: 'user', status: 'completed', content: [{ type: 'input_text', text: 'a cola' }] } });
  await heardOf('transcript');
  script.events.length = 0;
  script.drop();
  await heardOf('connected', 2);
  same(states(), ['connecting', 'connected', 'reconnecting', 'connected'], 'states');
  same(script.of('conversation.item.create').map(({ item }) => item.id), ['u'], 'told again');
  same(values('disconnection').map(({ reason }) => reason), ['server'], 'why');
  await until('spoken into', () => script.of('input_audio_buffer.append').length > 0);
  await ended(connection, script);
}

export async function rungHasNoWorklets({ VoiceConnection }) {
  const script = new Script(SCRIPT);
  const undo = stub(AudioWorklet.prototype, 'addModule', () => Promise.reject(new DOMException('refused', 'AbortError')));
  const { connection } = call(VoiceConnection, { overSocket: true, session: SESSION });
  const error = await rejection(connect(connection));
  same([error.code, error.stage, error.cause?.name], ['connect_failed', 'offer', 'AbortError'], 'why');
  check(/workletUrl/.test(error.message), 'what to do');
  undo();
  await ended(connection, script);
}

export async function rungWaitsForAGesture({ VoiceConnection }) {
  const script = new Script(SCRIPT);
  let allowed = false;
  const undo = stub(HTMLMediaElement.prototype, 'play', function (real) {
    return allowed ? real.call(this) : Promise.reject(new DOMException('play() can only be initiated by a user gesture', 'NotAllowedError'));
  });
  const { connection, heardOf } = call(VoiceConnection, { overSocket: true, session: SESSION });
  await connect(connection);
  await heardOf('needsGesture');
  same((await rejection(connection.resumeAudio())).code, 'needs_gesture', 'still not');
  const before = ledger().listener;
  allowed = true;
  document.body.click();
  await until('any click mends it', () => ledger().listener === before - 2);
  undo();
  await ended(connection, script);
  // Nobody has touched this page, and without a microphone its sound stands still.
  const deaf = toScript(VoiceConnection, { microphone: false });
  await connect(deaf.connection);
  await deaf.heardOf('needsGesture');
  await ended(deaf.connection, deaf.script);
}

/** Stalls what a connect over a socket waits for. */
function stalled(stage) {
  const wait = stuck();
  const through = (object, name) => stub(object, name, function (real, ...args) {
    return wait.promise.then(() => real.apply(this, args));
  });
  const undo = {
    token: () => () => {},
    microphone: () => through(navigator.mediaDevices, 'getUserMedia'),
    offer: () => through(AudioWorklet.prototype, 'addModule'),
    // It opens, and nobody is told.
    channel: () => stub(EventTarget.prototype, 'addEventListener', function (real, type, ...args) {
      if (!(this instanceof WebSocket && type === 'open')) return real.call(this, type, ...args);
    }),
    settings: () => stub(EventTarget.prototype, 'addEventListener', function (real, type, ...args) {
      if (!(this instanceof WebSocket && type === 'message')) return real.call(this, type, ...args);
    }),
  }[stage]();
  return { getToken: stage === 'token' ? () => wait.promise.then(() => 'ek_late') : undefined, undo, complete: wait.finish };
}

export async function rungIsGivenUpAnywhere({ VoiceConnection }) {
  const id = restaurant('rung');
  const key = await secret(id);
  for (const stage of ['token', 'microphone', 'offer', 'channel', 'settings']) {
    await givenUp(stage, stage === 'channel' || stage === 'settings' ? 100 : 20, () => {
      const { getToken = () => key, ...stall } = stalled(stage);
      return { ...stall, connection: toRelay(VoiceConnection, { getToken }).connection };
    });
    const { getToken = () => key, undo, complete } = stalled(stage);
    const { connection } = toRelay(VoiceConnection, { getToken, timeoutMs: 700 });
    const error = await rejection(connect(connection));
    same([error.code, error.stage], ['connect_timeout', stage], stage);
    complete();
    await pause(5);
    await nothingOfACall();
    undo();
    connection.dispose();
  }
  // Anywhere at all, also on its way from WebRTC.
  for (let n = 0; n < 100; n += 1) {
    const peer = n % 4 === 0 ? new Peer() : undefined;
    if (peer) peer.stall = 'ice';
    const { connection } = toRelay(VoiceConnection, { getToken: () => key, overSocket: !peer, fallsBack: true, timeoutMs: peer ? 200 : 10_000 });
    const waiting = connect(connection).catch(() => {});
    await pause(Math.random() * 200);
    if (n % 2) connection.disconnect();
    connection.dispose();
    await waiting;
    peer?.end();
  }
  await nothingLive();
  await noneUnhandled();
}

export async function rungsLeaveNothing({ VoiceConnection }) {
  const id = restaurant('rung');
  const contexts = [];
  const { AudioContext } = globalThis;
  globalThis.AudioContext = class extends AudioContext {
    constructor(...given) {
      super(...given);
      contexts.push(new WeakRef(this));
    }
  };
  for (let n = 0; n < 20; n += 1) {
    const { connection } = toRelay(VoiceConnection, { getToken: () => secret(id) });
    await connect(connection);
    connection.dispose();
    await nothingOfACall();
  }
  globalThis.AudioContext = AudioContext;
  await nothingLive();
  check(contexts.length >= 20, 'each has one');
  // Closed is not gone: a worklet that has not ended keeps its context. One in a hundred the browser keeps all the same.
  await until('the contexts are collected', () => {
    globalThis.gc();
    return contexts.filter((ref) => ref.deref() !== undefined).length <= contexts.length / 10;
  });
  await noneUnhandled();
}
