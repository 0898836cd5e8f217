// The `openai` package for Node: over TLS, the only way it goes, and in a page with its helper for WebRTC.
// The certificate is made by `npm test`, and trusted because NODE_EXTRA_CA_CERTS names it.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { SAID } from '../e2e/harness/planted.mjs';
import { Heard } from './heard.mjs';
import { assertOrdered, calls, hungUp, MODEL, ORDER, startRelay, token } from './kit.mjs';
import { openBrowser } from './page.mjs';
import { joined, pieces, share, silence, tone } from './sound.mjs';

let relay;
let browser;
before(async () => {
  const { TAUTLINE_TEST_CERTIFICATE: certificate, TAUTLINE_TEST_KEY: key } = process.env;
  assert.ok(certificate && key, 'there is no certificate: "npm test -- official" makes one');
  [relay, browser] = await Promise.all([startRelay({ args: ['--tls-cert', certificate, '--tls-key', key] }), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await relay?.stop();
});

/** The package with the application's own key, which makes keys for others. */
const server = async (name) => new OpenAI({ baseURL: `${relay.url}/v1`, apiKey: await token(relay, name), maxRetries: 0 });

async function secret(name) {
  const { value, expires_at, session } = await (await server(name)).realtime.clientSecrets.create({
    expires_after: { anchor: 'created_at', seconds: 600 },
    session: { type: 'realtime', model: MODEL, instructions: 'Take the order.' },
  });
  assert.match(value, /^ek_/);
  assert.ok(Math.abs(expires_at - Date.now() / 1_000 - 600) < 60, 'seconds since 1970');
  assert.deepEqual([session.type, session.model, session.instructions], ['realtime', MODEL, 'Take the order.']);
  return value;
}

/** A socket of the package's, and what it was told. Each attempt to connect has a key of its own. */
async function open(t, name, { key = () => secret(name), ...options } = {}) {
  const client = new OpenAI({ baseURL: `${relay.url}/v1`, apiKey: key });
  const realtime = await OpenAIRealtimeWS.create(client, { model: MODEL, ...options });
  t.after(() => realtime.close());
  assert.equal(realtime.url.protocol, 'wss:');
  const heard = new Heard();
  realtime.on('event', (event) => heard.add(event));
  // What the API says is among the events; this is the package's own.
  realtime.on('error', ({ error, message }) => {
    if (!error) heard.add({ type: 'error', error: { code: message } });
  });
  const { session } = await heard.next('session.created');
  assert.equal(session.instructions, 'Take the order.');
  return {
    realtime,
    heard,
    done: async () => (await heard.next('response.done')).response,
    write(text) {
      heard.pass();
      realtime.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] } });
      realtime.send({ type: 'response.create' });
    },
    speak(samples) {
      for (const piece of pieces(samples)) realtime.send({ type: 'input_audio_buffer.append', audio: Buffer.from(piece.buffer).toString('base64') });
    },
    faultless: () => assert.deepEqual(heard.all('error').map(({ error }) => error), []),
  };
}

const spoken = ({ output }) => output.map(({ content }) => content?.[0].transcript).join();

test('a text turn', async (t) => {
  const client = await open(t, 'text');
  client.write(SAID);
  const response = await client.done();
  assert.equal(response.status, 'completed');
  assert.ok(spoken(response).includes(SAID));
  client.faultless();
});

test('an audio turn, ended by turn detection', async (t) => {
  const client = await open(t, 'audio');
  client.speak(joined([silence(300), tone(800), silence(800)]));
  await client.heard.next('input_audio_buffer.speech_started');
  await client.heard.next('input_audio_buffer.speech_stopped');
  assert.match(spoken(await client.done()), /^I heard 0\.8 s of sound, .* near 440 Hz/);
  const bytes = Buffer.concat(client.heard.all('response.output_audio.delta').map(({ delta }) => Buffer.from(delta, 'base64')));
  const back = Int16Array.from({ length: bytes.length / 2 }, (_, n) => bytes.readInt16LE(2 * n));
  assert.ok(share(back, 440) > 0.4, `440 Hz: ${share(back, 440)}`);
  client.faultless();
});

test('function calls: one that the client runs, one that the relay runs', async (t) => {
  const client = await open(t, 'order');
  client.write(ORDER);
  const [call] = (await client.done()).output;
  assert.deepEqual([call.name, JSON.parse(call.arguments).items.length], ['add_to_order', 2]);
  client.realtime.send({ type: 'conversation.item.create', item: { type: 'function_call_output', call_id: call.call_id, output: '{"ok":true}' } });
  client.realtime.send({ type: 'response.create' });
  assert.match(spoken(await client.done()), /^The order so far: 2 Bacon burger \(no pickles\)/);
  client.write("that's all");
  assert.deepEqual((await client.done()).output.map(({ name }) => name), ['submit_order']);
  assert.match(spoken(await client.done()), /^Order \d+ went to the kitchen/);
  await assertOrdered(relay, 'order');
  client.faultless();
});

test('interrupted by the client', async (t) => {
  const client = await open(t, 'stopped');
  client.speak(joined([tone(8_000), silence(800)]));
  const { item_id } = await client.heard.next('response.output_audio.delta');
  client.realtime.send({ type: 'response.cancel' });
  const response = await client.done();
  assert.deepEqual([response.status, response.status_details.reason], ['cancelled', 'client_cancelled']);
  client.realtime.send({ type: 'conversation.item.truncate', item_id, content_index: 0, audio_end_ms: 100 });
  assert.equal((await client.heard.next('conversation.item.truncated')).audio_end_ms, 100);
  client.write('are you there');
  assert.match(spoken(await client.done()), /are you there/);
  client.faultless();
});

test('an error names the event that it answers', async (t) => {
  const client = await open(t, 'wrong');
  const refused = new Promise((resolve) => client.realtime.once('error', resolve));
  client.realtime.send({ type: 'response.cancel', event_id: 'mine' });
  const { message, error } = await refused;
  assert.deepEqual([error.type, error.code, error.event_id], ['invalid_request_error', 'response_cancel_not_active', 'mine']);
  assert.match(message, /no response under way/);
});

test('hanging up', async (t) => {
  const client = await open(t, 'end');
  assert.equal((await calls(relay, 'end')).length, 1);
  const closed = once(client.realtime.socket, 'close');
  client.realtime.close();
  assert.equal((await closed)[0], 1000);
  await hungUp(relay, 'end');
  client.faultless();
});

test('a refusal is the error that the package has for it', async () => {
  const stranger = new OpenAI({ baseURL: `${relay.url}/v1`, apiKey: 'nobody', maxRetries: 0 });
  await assert.rejects(stranger.realtime.clientSecrets.create({}), (error) => error instanceof OpenAI.AuthenticationError && error.status === 401);
  const nobody = (await server('nobody')).realtime.calls.hangup('rtc_nobody');
  await assert.rejects(nobody, (error) => error instanceof OpenAI.NotFoundError);
  const offer = (await server('nobody')).realtime.calls.create({ sdp: 'v=0' });
  await assert.rejects(offer, (error) => error instanceof OpenAI.BadRequestError && typeof error.code === 'string');
});

test('a page\'s call that the application\'s server makes, follows on a sideband, and hangs up', async (t) => {
  const name = 'unified';
  const client = await server(name);
  const { page, errors } = await browser.newPage();
  t.after(() => page.close());
  let id;
  // The offer goes to the application's own server, which adds the session.
  await page.exposeFunction('exchange', async (sdp) => {
    const answer = await client.realtime.calls.create({ sdp, session: { type: 'realtime', model: MODEL, audio: { input: { turn_detection: null } } } });
    assert.equal(answer.status, 201);
    id = answer.headers.get('location').split('/').pop();
    return answer.text();
  });
  await page.evaluate(async () => {
    const { Heard, OpenAIRealtimeWebRTC } = window.official;
    const realtime = new OpenAIRealtimeWebRTC();
    window.realtime = realtime;
    window.heard = new Heard();
    window.state = new Heard();
    realtime.onEvent((event) => window.heard.add(event));
    realtime.onConnectionEvent((event) => window.state.add(event));
    const [track] = (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks();
    realtime.peerConnection.addTrack(track);
    await realtime.connect({ exchangeSdp: (offer) => window.exchange(offer) });
    const { session } = await window.heard.next('session.created');
    if (session.audio.input.turn_detection !== null) throw new Error('the session of the form is not the call\'s');
  });
  assert.match(id, /^rtc_/);
  assert.deepEqual((await calls(relay, name)).map(({ transport }) => transport), ['webrtc']);

  const side = new OpenAIRealtimeWS({ callID: id }, client);
  t.after(() => side.close());
  const beside = new Heard();
  side.on('event', (event) => beside.add(event));
  side.on('error', (error) => beside.add({ type: 'error', error }));
  await beside.next('session.created');

  const response = await page.evaluate(async (text) => {
    window.realtime.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text }] } });
    window.realtime.send({ type: 'response.create' });
    return (await window.heard.next('response.done')).response;
  }, SAID);
  assert.ok(spoken(response).includes(SAID));
  assert.equal((await beside.next('response.done')).response.id, response.id);

  await client.realtime.calls.hangup(id);
  await page.evaluate(() => window.state.next('closed'));
  await hungUp(relay, name);
  assert.deepEqual(beside.all('error'), []);
  assert.deepEqual(errors, []);
});

test('the relay is killed, and the package comes back to it by itself', async (t) => {
  let there;
  const key = async () => {
    await there;
    return secret('killed');
  };
  const client = await open(t, 'killed', { key, reconnect: true });
  client.write('one');
  assert.match(spoken(await client.done()), /one/);
  client.realtime.on('reconnected', () => client.heard.add({ type: 'reconnected' }));
  there = relay.kill9().then(() => relay.restart());
  await client.heard.next('reconnected');
  // Another session, as with the API: what was said is not known to it.
  await client.heard.next('session.created');
  client.write('two');
  assert.match(spoken(await client.done()), /two/);
  client.faultless();
  client.realtime.close();
  await hungUp(relay, 'killed');
});
