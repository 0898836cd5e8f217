// A call against a peer in the same page.

import { TautlineError, browser, check, heard, ledger, noneUnhandled, nothingLive, pause, rejection, same, uncounted, until } from './host.js';
import { Peer, callsUrl } from './peer.js';
import { Rtc } from './rtc.js';
import { workletUrl } from './server.js';

const SESSION = { type: 'realtime', instructions: 'Be brief.' };

/** A connection as the layer makes it, and what it told. */
export function call(VoiceConnection, options = {}) {
  const { getToken = () => 'ek_test', muted = false, timeoutMs = 10_000, microphone = {}, attempts, session = SESSION } = options;
  const { socketUrl = callsUrl.replace('/calls', ''), overSocket = false, fallsBack = false } = options;
  const told = [];
  const listeners = new Map();
  const rtc = new Rtc({ url: callsUrl, socketUrl, workletUrl: workletUrl(), hangup: true, microphone, session });
  const emit = (event, value) => {
    told.push([event, value]);
    listeners.get(event)?.(value);
  };
  const connection = new VoiceConnection(rtc, emit, getToken ?? undefined, microphone !== false, muted, timeoutMs, attempts, overSocket, fallsBack);
  const values = (event) => told.filter(([name]) => name === event).map(([, value]) => value);
  const heardOf = (event, n = 1) => until(event, () => values(event).length >= n);
  return { connection, told, values, heardOf, on: (event, then) => listeners.set(event, then), states: () => values('connection.change') };
}

export const connect = (connection) => connection.connect(undefined, undefined);
export const send = (connection, event, turn = event.type === 'response.create') => connection.send(JSON.stringify(event), undefined, turn);
const total = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0);
/** Nothing but the page's lifecycle listeners. */
export async function nothingOfACall() {
  await until('nothing of a call', () => {
    const { listener = 0, ...rest } = ledger();
    const { listeners, ...live } = browser();
    return total(rest) + total(live) === 0 && listener === listeners;
  });
}

export async function ended(connection, peer) {
  connection.dispose();
  await nothingLive();
  await noneUnhandled();
  peer?.end();
}

export async function callConnects({ VoiceConnection }) {
  const peer = new Peer();
  const reasons = [];
  const { connection, told, values, heardOf, states } = call(VoiceConnection, { getToken: (request) => (reasons.push(request), 'ek_first') });
  await connect(connection);
  same(states(), ['connecting', 'connected'], 'states');
  same(connection.getConnectionState(), 'connected', 'state');
  same(reasons, [{ reason: 'connect', attempt: 1 }], 'what getToken is told');
  same(peer.posts.map(({ url, token, type }) => [url, token, type]), [[callsUrl, 'Bearer ek_first', 'application/sdp']], 'the request');
  const offer = peer.posts[0].body;
  check(/m=audio/.test(offer) && !/a=candidate/.test(offer), 'an audio line, and no wait for candidates');
  same(peer.types(), ['session.update'], 'one event before it is ready');
  same(peer.events[0].session, SESSION, 'its settings');
  same(connection.getDataChannel().label, 'oai-events', 'the channel');
  check(told.findIndex(([event]) => event === 'dataChannelReady') < told.findIndex(([event]) => event === 'connected'), 'ready before connected');
  // The ledger is what the browser has, the audio context that comes with the first level too.
  await heardOf('level');
  const { listeners, timers, peers, channels, tracks, contexts } = browser();
  const { listener, timer, peer_connection, data_channel, media_track, audio_context, audio_element } = ledger();
  same([listener, timer, peer_connection, data_channel, media_track, audio_context], [listeners, timers, peers, channels, tracks, contexts], 'ledger and browser');
  same([peers, channels, tracks, audio_element], [1, 1, 1, 1], 'of each');

  await peer.receives();
  await heardOf('track.received');
  // The fake microphone beeps, and the peer sends it back.
  await until('levels both ways', () => values('level').some(({ input }) => input > 0.01) && values('level').some(({ output }) => output > 0.01));
  await heardOf('stats');
  const stats = await until('a second of it', () => values('stats').find(({ bitrateOut, path }) => bitrateOut > 0 && path !== null));
  same([stats.path, stats.alarms], ['udp', []], 'how it goes');
  check(stats.score >= 4, `score ${stats.score}`);

  // What is said.
  peer.say({ type: 'conversation.item.added', previous_item_id: null, item: { id: 'u', type: 'message', role: 'user', status: 'completed', content: [{ type: 'input_text', text: 'a cola' }] } });
  peer.say({ type: 'response.output_audio_transcript.delta', response_id: 'r', item_id: 'a', content_index: 0, delta: 'One ' });
  peer.say({ type: 'conversation.item.added', previous_item_id: 'u', item: { id: 'a', type: 'message', role: 'assistant', status: 'in_progress', content: [] } });
  peer.say({ type: 'response.output_audio_transcript.done', response_id: 'r', item_id: 'a', content_index: 0, transcript: 'One cola.' });
  await until('the transcript', () => connection.transcript().at(-1)?.state === 'final' && connection.transcript().length === 2);
  const list = connection.transcript();
  same(list.map(({ role, text }) => [role, text]), [['user', 'a cola'], ['assistant', 'One cola.']], 'transcript');
  check(list === connection.transcript(), 'the same list until it changes');
  const tool = { id: 'c', type: 'function_call', status: 'completed', call_id: 'call_1', name: 'add_to_order', arguments: '{"n":1}' };
  for (let n = 0; n < 2; n += 1) peer.say({ type: 'response.output_item.done', response_id: 'r', output_index: 0, item: tool });
  await heardOf('tool.call');
  peer.say({ type: 'output_audio_buffer.started', response_id: 'r' });
  await heardOf('speaking');
  same(values('tool.call'), [{ callId: 'call_1', name: 'add_to_order', arguments: '{"n":1}' }], 'told once');
  check(values('dataChannelMessage').length >= 7, 'every event, as it came');

  // One response at a time; an over-size event is refused and the channel stays.
  const ids = [send(connection, { type: 'response.create' }), send(connection, { type: 'response.create' })];
  await until('the first', () => peer.types().filter((type) => type === 'response.create').length === 1);
  peer.say({ type: 'response.created', response: { id: 'r2', conversation_id: 'conv' } });
  peer.say({ type: 'response.done', response: { id: 'r2' } });
  await until('the second', () => peer.types().filter((type) => type === 'response.create').length === 2);
  same(peer.events.filter(({ type }) => type === 'response.create').map(({ event_id }) => event_id), ids, 'ids');
  let refused;
  try {
    send(connection, { type: 'conversation.item.create', item: { text: 'x'.repeat(300 * 1024) } });
  } catch (error) {
    refused = error;
  }
  check(refused instanceof TautlineError && refused.code === 'message_too_large', 'over-size');
  // Ten megabytes: never more in the browser's buffer than the mark, all of it in order.
  let most = 0;
  const chunk = 'x'.repeat(60 * 1024);
  const watch = setInterval(() => (most = Math.max(most, connection.getDataChannel().bufferedAmount)), 1);
  for (let n = 0; n < 160; n += 1) send(connection, { type: 'burst', n, chunk });
  most = Math.max(most, connection.getDataChannel().bufferedAmount);
  await until('all of it', () => peer.types().filter((type) => type === 'burst').length === 160, 60_000);
  clearInterval(watch);
  same(peer.events.filter(({ type }) => type === 'burst').map(({ n }) => n), Array.from({ length: 160 }, (_, n) => n), 'in order');
  check(most <= 256 * 1024, `under the high mark: ${most}`);

  connection.disconnect();
  same(connection.getConnectionState(), 'disconnected', 'state');
  await nothingOfACall();
  same(peer.hangups.map(({ url, token, keepalive }) => [url, token, keepalive]), [[`${callsUrl}/rtc_1/hangup`, 'Bearer ek_first', true]], 'hung up');
  check(connection.transcript().length === 2, 'what was said stays');
  await ended(connection, peer);
}

/** A call that goes on, for the test that kills the module; its other side. */
export async function callConnected(VoiceConnection) {
  const peer = new Peer();
  const { connection, heardOf } = call(VoiceConnection);
  await connect(connection);
  await heardOf('level');
  return peer;
}

/** Something that never settles, until it does. */
export function stuck() {
  let finish;
  const promise = new Promise((resolve) => (finish = resolve));
  return { promise, finish };
}

/** Replaces a method until the function answered is called. */
export function stub(object, name, replacement) {
  const real = object[name];
  object[name] = function (...args) {
    return replacement.call(this, real, ...args);
  };
  return () => {
    object[name] = real;
  };
}

const STAGES = ['token', 'microphone', 'offer', 'exchange', 'answer', 'ice', 'channel', 'settings'];

/** Stalls a stage: how to end that, and how to let the stalled step complete. */
function stalled(stage, peer) {
  const wait = stuck();
  const late = [];
  const through = (name) => stub(RTCPeerConnection.prototype, name, function (real, ...args) {
    if (peer.calls.some(({ pc }) => pc === this)) return real.apply(this, args);
    late.push(() => real.apply(this, args).catch(() => {}));
    return wait.promise;
  });
  peer.stall = stage;
  const undo =
    stage === 'microphone'
      ? stub(navigator.mediaDevices, 'getUserMedia', function (real, ...args) {
          return wait.promise.then(() => real.apply(this, args));
        })
      : stage === 'offer'
        ? through('setLocalDescription')
        : stage === 'answer'
          ? through('setRemoteDescription')
          : stage === 'channel'
            ? stub(EventTarget.prototype, 'addEventListener', function (real, type, ...args) {
                // It opens, and nobody is told.
                if (!(this instanceof RTCDataChannel && type === 'open')) return real.call(this, type, ...args);
              })
            : () => {};
  const getToken = stage === 'token' ? () => wait.promise.then(() => 'ek_late') : () => 'ek_test';
  return { getToken, undo, complete: () => (late.forEach((run) => run()), wait.finish()) };
}

export async function callStalls({ VoiceConnection }) {
  for (const stage of STAGES) {
    const peer = new Peer();
    const { getToken, undo, complete } = stalled(stage, peer);
    const { connection, values, states } = call(VoiceConnection, { getToken, timeoutMs: 1_500 });
    const error = await rejection(connect(connection));
    same([error.code, error.stage, error.timeoutMs], ['connect_timeout', stage, 1_500], stage);
    same(values('connection.timeout'), [{ stage, timeoutMs: 1_500 }], stage);
    same(states(), ['connecting', 'error'], stage);
    if (stage === 'exchange') check(peer.posts[0].signal.aborted, 'the request was aborted');
    await nothingOfACall();
    // The stalled step completes after all, and nothing comes back to life.
    complete();
    await pause(100);
    same(connection.getConnectionState(), 'error', stage);
    await nothingOfACall();
    undo();
    await ended(connection, peer);
  }
}

export async function callIsUnacknowledged({ VoiceConnection }) {
  const peer = new Peer();
  peer.session = { ...SESSION, instructions: 'Something else.' };
  const { connection, states } = call(VoiceConnection, {});
  const waiting = connect(connection);
  await until('unacknowledged', () => connection.getConnectionState() === 'unacknowledged');
  check(!connection.getMicrophoneStream().getAudioTracks()[0].enabled, 'nothing spoken leaves');
  peer.say({ type: 'session.updated', session: { ...SESSION, more: 1 } });
  await waiting;
  same(states(), ['connecting', 'unacknowledged', 'connected'], 'states');
  check(connection.getMicrophoneStream().getAudioTracks()[0].enabled, 'now it does');
  await ended(connection, peer);
}

/** A connect given up in each way a while after it began; `begin` stalls it. Nothing may be left, before and after it goes on. */
export async function givenUp(stage, afterMs, begin) {
  for (const how of ['disconnect', 'dispose', 'abort']) {
    const { connection, complete, undo } = begin();
    const controller = new AbortController();
    const waiting = connection.connect(undefined, controller.signal);
    await pause(afterMs);
    if (how === 'abort') controller.abort();
    else connection[how]();
    const error = await rejection(waiting);
    check(how === 'abort' ? error.name === 'AbortError' : error.code === (how === 'dispose' ? 'disposed' : 'aborted'), `${stage} ${how}: ${error}`);
    complete();
    await pause(5);
    await nothingOfACall();
    undo();
    connection.dispose();
  }
}

export async function callIsGivenUpAnywhere({ VoiceConnection }) {
  const peer = new Peer();
  // At each await, and a moment after it has gone on.
  for (const stage of STAGES) {
    await givenUp(stage, stage === 'settings' || stage === 'channel' ? 60 : 10, () => {
      const { getToken, ...stall } = stalled(stage, peer);
      return { ...stall, connection: call(VoiceConnection, { getToken }).connection };
    });
  }
  peer.stall = undefined;
  // Anywhere at all.
  for (let n = 0; n < 60; n += 1) {
    const { connection } = call(VoiceConnection, {});
    const waiting = connect(connection).catch(() => {});
    await pause(Math.random() * 80);
    connection.dispose();
    await waiting;
  }
  await nothingLive();
  await noneUnhandled();
  peer.end();
}

export async function callNamesWhatIsWrongWithTheMicrophone({ VoiceConnection }) {
  const peer = new Peer();
  for (const [name, message, code] of [
    ['NotAllowedError', 'Permission denied', 'microphone_denied'],
    ['NotAllowedError', 'Permission dismissed', 'microphone_dismissed'],
    ['SecurityError', '', 'insecure_context'],
    ['NotFoundError', 'Requested device not found', 'microphone_missing'],
    ['NotReadableError', 'Could not start audio source', 'microphone_in_use'],
    ['OverconstrainedError', '', 'microphone_overconstrained'],
    ['TypeError', '', 'microphone_failed'],
  ]) {
    const undo = stub(navigator.mediaDevices, 'getUserMedia', () => Promise.reject(new DOMException(message, name)));
    const { connection, values } = call(VoiceConnection, {});
    const error = await rejection(connect(connection));
    same([error.code, error.stage, error.cause?.name], [code, 'microphone', name], name);
    same(values('microphone.denied').map((denied) => denied.code), [code], name);
    same((await rejection(connection.setupMicrophone())).code, code, `${name}, asked for alone`);
    undo();
    await ended(connection, { end() {} });
  }
  same(peer.posts.length, 0, 'no call is made without a microphone');
  // Listening only is a choice.
  const { connection } = call(VoiceConnection, { microphone: false });
  await connect(connection);
  same(ledger().media_track, undefined, 'tracks');
  await ended(connection, peer);
}

export async function callHasNoToken({ VoiceConnection }) {
  const why = new Error('no network');
  const peer = new Peer();
  const throws = () => {
    throw why;
  };
  for (const [getToken, cause] of [[throws, why], [() => Promise.reject(why), why], [() => null, undefined], [() => 7, undefined], [undefined, undefined]]) {
    const { connection } = call(VoiceConnection, { getToken: getToken ?? null });
    const error = await rejection(connect(connection));
    same([error.code, error.stage], ['connect_failed', 'token'], String(getToken));
    check(error.cause === cause, `what was thrown: ${error.cause}`);
    await nothingOfACall();
    connection.dispose();
  }
  // One that was handed over is used, for its own call and those in its place.
  const { connection } = call(VoiceConnection, { getToken: null });
  await connection.connect('ek_given', undefined);
  await connection.reconnect(undefined, undefined);
  same(peer.posts.map(({ token }) => token), ['Bearer ek_given', 'Bearer ek_given'], 'given');
  // A refused token is replaced once, and then named.
  const asked = [];
  peer.refusal = { status: 401, error: { code: 'invalid_token', message: 'no' } };
  const refused = call(VoiceConnection, { getToken: ({ reason }) => (asked.push(reason), 'ek_old') });
  const error = await rejection(connect(refused.connection));
  same([error.code, error.status, error.serverCode, error.stage, asked], ['auth_failed', 401, 'invalid_token', 'exchange', ['connect', 'rejected']], 'refused');
  refused.connection.dispose();
  await ended(connection, peer);
}

export async function callBorrowsAStream({ VoiceConnection }) {
  const peer = new Peer();
  const stream = await uncounted(() => navigator.mediaDevices.getUserMedia({ audio: true }));
  const [track] = stream.getAudioTracks();
  const { connection } = call(VoiceConnection, {});
  for (let n = 0; n < 2; n += 1) {
    await connection.setMicrophoneStream(stream);
    await connect(connection);
    check(connection.getMicrophoneStream() === stream, 'in use');
    await peer.receives();
    connection.disconnect();
    await nothingOfACall();
    same([track.readyState, track.enabled], ['live', true], 'as it came');
  }
  const silent = call(VoiceConnection, { muted: true }).connection;
  await silent.setMicrophoneStream(stream);
  await connect(silent);
  same(track.enabled, false, 'muted');
  silent.dispose();
  same([track.readyState, track.enabled], ['live', true], 'as it came, at once');
  await nothingOfACall();
  // Taken back in the middle of a call, which gets a microphone of its own.
  await connect(connection);
  await connection.setMicrophoneStream(undefined);
  await until('one of its own', () => ledger().media_track === 1);
  await peer.receives();
  await ended(connection, peer);
  const idle = call(VoiceConnection, {}).connection;
  await idle.setMicrophoneStream(stream);
  idle.dispose();
  same(ledger(), {}, 'lent, never used and let go of at once');
  same(track.readyState, 'live', 'never stopped');
  track.stop();
}

export async function callIsMutedBeforeItIsMade({ VoiceConnection }) {
  const peer = new Peer();
  const { connection, values } = call(VoiceConnection, {});
  const seen = [];
  peer.onEvent = ({ type }) => type === 'session.update' && seen.push(connection.getMicrophoneStream().getAudioTracks()[0].enabled);
  connection.setMuted(true);
  await connect(connection);
  const [track] = connection.getMicrophoneStream().getAudioTracks();
  same([seen, track.enabled, connection.isMuted()], [[false], false, true], 'not open before, nor after');
  await peer.receives();
  connection.setMuted(false);
  same(track.enabled, true, 'unmuted');
  connection.setMuted(true);
  await connection.reconnect(undefined, undefined);
  same([track.readyState, track.enabled], ['live', false], 'over a reconnect');
  same(values('microphone.muted').map(({ muted, by }) => [muted, by]), [[true, 'page'], [false, 'page'], [true, 'page']], 'told');
  await ended(connection, peer);
}

export async function callIsPushToTalk({ VoiceConnection }) {
  const peer = new Peer();
  const { connection } = call(VoiceConnection, { muted: true });
  await connect(connection);
  const [track] = connection.getMicrophoneStream().getAudioTracks();
  const open = () => track.enabled;
  peer.events.length = 0;
  same(open(), false, 'closed');
  connection.talk(true);
  same(open(), true, 'held');
  await pause(200);
  connection.talk(false);
  same(open(), false, 'let go');
  const talk = ['input_audio_buffer.clear', 'input_audio_buffer.commit', 'response.create'];
  await until('a turn', () => peer.events.length === 3);
  same(peer.types(), talk, 'in this order');
  connection.talk(true);
  connection.talk(false);
  await until('a slip', () => peer.events.length === 5);
  same(peer.types().slice(3), ['input_audio_buffer.clear', 'input_audio_buffer.clear'], 'taken back');
  // Into an answer: it is cut off.
  peer.say({ type: 'response.created', response: { id: 'r' } });
  peer.say({ type: 'output_audio_buffer.started', response_id: 'r' });
  await pause(100);
  connection.talk(true);
  await until('cut off', () => peer.events.length === 8);
  same(peer.types().slice(5), ['response.cancel', 'output_audio_buffer.clear', 'input_audio_buffer.clear'], 'barge-in');
  await ended(connection, peer);
}

export async function callLosesItsMicrophone({ VoiceConnection }) {
  const peer = new Peer();
  const { connection, values, heardOf } = call(VoiceConnection, {});
  await connect(connection);
  await peer.receives();
  const [track] = connection.getMicrophoneStream().getAudioTracks();
  const began = performance.now();
  track.stop();
  track.dispatchEvent(new Event('ended'));
  await heardOf('microphone.ended');
  await until('another', () => connection.getMicrophoneStream()?.getAudioTracks()[0] !== track);
  const [other] = connection.getMicrophoneStream().getAudioTracks();
  await until('in its place', () => connection.getPeerConnection().getSenders()[0].track === other);
  check(performance.now() - began < 1_000, 'within a second');
  same([values('microphone.ended'), other.enabled], [[{ replaced: true }], true], 'told, and open');
  await peer.receives();
  same([peer.posts.length, connection.getConnectionState()], [1, 'connected'], 'the same call');
  // Devices have come: back to the one that was wanted.
  navigator.mediaDevices.dispatchEvent(new Event('devicechange'));
  await until('back', () => connection.getMicrophoneStream()?.getAudioTracks()[0] !== other);
  await until('one track', () => browser().tracks === 1 && ledger().media_track === 1);
  await peer.receives();
  await ended(connection, peer);
}

export async function callComesBack({ VoiceConnection }) {
  const peer = new Peer();
  let n = 0;
  const { connection, values, states, heardOf } = call(VoiceConnection, { getToken: () => `ek_${++n}` });
  await connect(connection);
  const item = (id, role, type, text, previous) => ({ type: 'conversation.item.done', previous_item_id: previous, item: { id, type: 'message', role, status: 'completed', content: [{ type, text }] } });
  peer.say(item('u', 'user', 'input_text', 'a cola', null));
  peer.say(item('a', 'assistant', 'output_text', 'One cola.', 'u'));
  await heardOf('transcript', 2);
  peer.events.length = 0;
  const [track] = connection.getMicrophoneStream().getAudioTracks();
  peer.calls[0].pc.close();
  await heardOf('connected', 2);
  same(states(), ['connecting', 'connected', 'reconnecting', 'connected'], 'states');
  same(peer.posts.map(({ token }) => token), ['Bearer ek_1', 'Bearer ek_2'], 'a new token');
  await until('its conversation', () => peer.events.length === 3);
  same(peer.events.slice(1).map(({ item }) => [item.id, item.content[0].type, item.content[0].text]), [['u', 'input_text', 'a cola'], ['a', 'output_text', 'One cola.']], 'told again');
  same(values('disconnection').map(({ reason, willReconnect }) => [reason, willReconnect]), [['server', true]], 'told');
  check(connection.getMicrophoneStream().getAudioTracks()[0] === track, 'the same microphone');
  await peer.receives();
  // A refusal that cannot heal ends it.
  peer.refusal = { status: 403, error: { code: 'forbidden', message: 'not here' } };
  peer.calls[1].pc.close();
  await heardOf('reconnect.needed');
  const [error] = values('reconnect.needed');
  same([error.code, error.status, error.serverCode, error.retryable], ['auth_forbidden', 403, 'forbidden', false], 'why');
  same(connection.getConnectionState(), 'error', 'state');
  await nothingOfACall();
  await ended(connection, peer);
}

export async function callWaitsForAGesture({ VoiceConnection }) {
  const peer = new Peer();
  let allowed = false;
  const undo = stub(HTMLMediaElement.prototype, 'play', function (real) {
    return allowed ? real.call(this) : Promise.reject(new DOMException('play() can only be initiated by a user gesture', 'NotAllowedError'));
  });
  const { connection, heardOf } = call(VoiceConnection, {});
  await connect(connection);
  await heardOf('needsGesture');
  same((await rejection(connection.resumeAudio())).code, 'needs_gesture', 'still not');
  const before = ledger().listener;
  allowed = true;
  document.body.click();
  await until('any click mends it', () => ledger().listener === before - 2);
  undo();
  await ended(connection, peer);
}

export async function callEndsWithThePage({ VoiceConnection }) {
  const peer = new Peer();
  for (const persisted of [true, false]) {
    const { connection } = call(VoiceConnection, {});
    await connect(connection);
    window.dispatchEvent(new PageTransitionEvent('pagehide', { persisted }));
    same(connection.getConnectionState(), 'disconnected', `persisted ${persisted}`);
    await nothingOfACall();
    same(peer.hangups.at(-1).keepalive, true, 'told on the way out');
    if (!persisted) same((await rejection(connect(connection))).code, 'disposed', 'for good');
    connection.dispose();
  }
  same(peer.hangups.length, 2, 'hang-ups');
  await nothingLive();
  await noneUnhandled();
  peer.end();
}

export async function callIsFreed({ VoiceConnection }) {
  const peer = new Peer();
  const { connection, told } = call(VoiceConnection, {});
  await connect(connection);
  const before = told.length;
  connection.free();
  await nothingLive();
  same(told.slice(before), [], 'nobody is told');
  // In the middle of its connect.
  const { connection: early } = call(VoiceConnection, { getToken: () => new Promise(() => {}) });
  const wait = rejection(connect(early));
  early.free();
  same((await wait).code, 'disposed', 'connect()');
  await nothingLive();
  await noneUnhandled();
  peer.end();
}

export async function callChangesDevices({ VoiceConnection }) {
  const peer = new Peer();
  const { connection, values } = call(VoiceConnection, {});
  const stream = await connection.setupMicrophone();
  check(stream instanceof MediaStream && stream === connection.getMicrophoneStream(), 'asked for before the call');
  await connection.setOutputDevice('');
  await connect(connection);
  check(stream === connection.getMicrophoneStream(), 'and used in it');
  const devices = await navigator.mediaDevices.enumerateDevices();
  const other = devices.filter(({ kind, deviceId }) => kind === 'audioinput' && deviceId !== 'default').at(-1);
  await connection.setMicrophoneDevice(other.deviceId);
  const [track] = connection.getMicrophoneStream().getAudioTracks();
  same([track.getSettings().deviceId, track.enabled, ledger().media_track, browser().tracks], [other.deviceId, true, 1, 1], 'another');
  await until('in the call', () => connection.getPeerConnection().getSenders()[0].track === track);
  same((await rejection(connection.setMicrophoneDevice('nobody'))).code, 'microphone_overconstrained', 'none like that');
  check(connection.getMicrophoneStream().getAudioTracks()[0] === track, 'the one in use stays');
  await rejection(connection.setOutputDevice('nobody'));
  await connection.resumeAudio();
  await peer.receives();
  same([peer.posts.length, values('microphone.ended')], [1, []], 'the same call');
  await ended(connection, peer);
}

export async function callsLeaveNothing({ VoiceConnection }) {
  const peer = new Peer();
  for (let n = 0; n < 20; n += 1) {
    const { connection } = call(VoiceConnection, {});
    await connect(connection);
    connection.dispose();
    const { media_track, peer_connection, timer } = ledger();
    same([media_track, peer_connection, timer], [undefined, undefined, undefined], 'it is over before dispose() returns');
    await nothingOfACall();
  }
  const asked = call(VoiceConnection, {}).connection;
  await connect(asked);
  const wait = stuck();
  const undo = stub(HTMLMediaElement.prototype, 'play', () => wait.promise);
  const answers = [rejection(asked.resumeAudio()), pause(2_000).then(() => 'never')];
  asked.dispose();
  undo();
  same((await Promise.race(answers)).code, 'disposed', 'what is not answered by then');
  await nothingOfACall();
  const { connection } = call(VoiceConnection, {});
  await connection.setupMicrophone();
  same(ledger().media_track, 1, 'a microphone without a call');
  connection.dispose();
  same(ledger().media_track, undefined, 'goes with its connection too');
  await nothingOfACall();
  same(heard.errors, [], 'errors');
  await nothingLive();
  await noneUnhandled();
  peer.end();
}
