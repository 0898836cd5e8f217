// `@openai/agents-realtime` in headless Chromium: over WebRTC, and over a WebSocket as a page opens one.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { SAID } from '../e2e/harness/planted.mjs';
import { assertOrdered, calls, hungUp, ORDER, secret, startRelay, token, until } from './kit.mjs';
import { openBrowser, WORDS_MS } from './page.mjs';

let relay;
let browser;
before(async () => {
  [relay, browser] = await Promise.all([startRelay(), openBrowser()]);
});
after(async () => {
  await browser?.close();
  await relay?.stop();
});

/** Hears nothing by itself: the microphone speaks all the time. */
const DEAF = { audio: { input: { turnDetection: null } } };

/** A page with a connected session at `window.waiter`. */
async function open(t, name, { kind = 'webrtc', config } = {}) {
  const { page, errors } = await browser.newPage();
  t.after(() => page.close());
  const session = await page.evaluate(
    async ([given, url, key, options]) => {
      window.waiter = new window.official.Waiter(given, url, options);
      return window.waiter.connect(key);
    },
    [kind, relay.url, await secret(relay, name), { config }],
  );
  return {
    page,
    session,
    say: (text) => page.evaluate((given) => window.waiter.say(given), text),
    done: () => page.evaluate(() => window.waiter.done()),
    next: (type) => page.evaluate((given) => window.waiter.heard.next(given), type),
    all: (type) => page.evaluate((given) => window.waiter.heard.all(given), type),
    told: (type) => page.evaluate((given) => window.waiter.told.next(given), type),
    history: () => page.evaluate(() => window.waiter.history),
    async faultless() {
      assert.deepEqual(await page.evaluate(() => window.waiter.faults), { errors: [], withoutId: [] });
      assert.deepEqual(errors, []);
    },
  };
}

/** The energy of the sound that the browser has played. */
const played = (page) =>
  page.evaluate(async () => {
    const { peerConnection } = window.waiter.session.transport.connectionState;
    const reports = [...(await peerConnection.getStats()).values()];
    return reports.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'audio')?.totalAudioEnergy ?? 0;
  });

const spoken = ({ output }) => output.map(({ content }) => content?.[0].transcript).join();

test('a text turn over WebRTC', async (t) => {
  const client = await open(t, 'text', { config: DEAF });
  assert.deepEqual(client.session.tools.map(({ name }) => name), ['add_to_order', 'submit_order']);
  // The page is of another origin: it sees the name of its call because the relay exposes `Location`.
  const id = await client.page.evaluate(() => window.waiter.session.transport.callId);
  assert.match(id, /^rtc_/);
  const response = await client.say(SAID);
  assert.equal(response.status, 'completed');
  assert.ok(spoken(response).includes(SAID));
  assert.equal((await client.told('agent_end')).text, spoken(response));
  await client.next('output_audio_buffer.started');
  await client.next('output_audio_buffer.stopped');
  assert.deepEqual((await client.all('response.output_audio.delta')).length, 0, 'sound goes over RTP');
  assert.ok((await played(client.page)) > 0, 'its words are heard as tones');
  assert.deepEqual(await client.history(), [
    { role: 'user', status: 'completed', text: SAID },
    { role: 'assistant', status: 'completed', text: spoken(response) },
  ]);
  await client.faultless();
});

test('audio turns over WebRTC: it says back what the microphone heard, and is interrupted by it', async (t) => {
  const client = await open(t, 'audio');
  await client.next('input_audio_buffer.speech_started');
  await client.next('input_audio_buffer.speech_stopped');
  assert.match(spoken(await client.done()), /^I heard [\d.]+ s of sound, .* near 440 Hz/);
  await client.next('output_audio_buffer.started');
  await until('the echo is heard', async () => (await played(client.page)) > 0);
  // The pause is shorter than the echo of all the words: the next ones break into it.
  await client.next('output_audio_buffer.cleared');
  const { item_id, audio_end_ms } = await client.next('conversation.item.truncated');
  const responses = (await client.all('response.done')).map(({ response }) => response);
  const broken = responses.find(({ output }) => output[0].id === item_id);
  const seconds = Number(/^I heard ([\d.]+) s/.exec(spoken(broken))[1]);
  assert.ok(audio_end_ms < seconds * 1_000 && seconds < WORDS_MS / 1_000 + 0.5, `${audio_end_ms} ms of ${seconds} s were heard`);
  // It goes on with what broke in.
  assert.match(spoken(await client.done()), /^I heard .* near 440 Hz/);
  await client.page.evaluate(() => window.waiter.session.mute(true));
  await client.faultless();
});

test('function calls over WebRTC', async (t) => {
  const client = await open(t, 'order', { config: DEAF });
  await client.say(ORDER);
  assert.match(spoken(await client.done()), /^The order so far: 2 Bacon burger \(no pickles\), 1 small Cola/);
  assert.deepEqual(await client.page.evaluate(() => window.waiter.ran), [{ items: [{ name: 'Bacon burger', quantity: 2 }, { name: 'Cola', quantity: 1 }] }]);
  await client.say("that's all");
  assert.match(spoken(await client.done()), /^Order \d+ went to the kitchen/);
  await assertOrdered(relay, 'order');
  await client.faultless();
});

test('interrupted by the client over WebRTC', async (t) => {
  const client = await open(t, 'stopped', { config: DEAF });
  const response = await client.page.evaluate(async () => {
    const { heard, session } = window.waiter;
    heard.pass();
    session.sendMessage(Array.from({ length: 60 }, (_, n) => `word${n}`).join(' '));
    await heard.next('output_audio_buffer.started');
    session.interrupt();
    return window.waiter.done();
  });
  await client.next('output_audio_buffer.cleared');
  const { item_id, audio_end_ms } = await client.next('conversation.item.truncated');
  assert.equal(item_id, response.output[0].id);
  assert.ok(audio_end_ms < 2_000, `${audio_end_ms} ms were heard`);
  assert.match(spoken(await client.say('are you there')), /are you there/);
  await client.faultless();
});

test('hanging up over WebRTC', async (t) => {
  const client = await open(t, 'end', { config: DEAF });
  assert.deepEqual((await calls(relay, 'end')).map(({ transport, user_id }) => [transport, user_id]), [['webrtc', 'end']]);
  await client.page.evaluate(() => window.waiter.session.close());
  await client.told('connection disconnected');
  await hungUp(relay, 'end');
  await client.faultless();
});

test('hung up by the application\'s server', async (t) => {
  const client = await open(t, 'hangup', { config: DEAF });
  const id = await client.page.evaluate(() => window.waiter.session.transport.callId);
  const answer = await fetch(`${relay.url}/v1/realtime/calls/${id}/hangup`, { method: 'POST', headers: { authorization: `Bearer ${await token(relay, 'hangup')}` } });
  assert.equal(answer.status, 200);
  await hungUp(relay, 'hangup');
  await client.page.evaluate(() => {
    const { dataChannel } = window.waiter.session.transport.connectionState;
    if (dataChannel.readyState === 'closed') return undefined;
    return new Promise((resolve) => dataChannel.addEventListener('close', () => resolve()));
  });
});

test('a key that is none is refused, and the SDK says why', async (t) => {
  const { page } = await browser.newPage();
  t.after(() => page.close());
  const message = await page.evaluate(async (url) => {
    const waiter = new window.official.Waiter('webrtc', url);
    return waiter.connect('ek_nobody_ever_made_this_one').then(() => 'connected', (error) => error.message);
  }, relay.url);
  assert.match(message, /status 401: \S/);
});

test('text, order and hang-up over the WebSocket of a page, with the key in its subprotocol', async (t) => {
  const client = await open(t, 'page-socket', { kind: 'websocket' });
  assert.ok(spoken(await client.say(SAID)).includes(SAID));
  await client.say(ORDER);
  assert.match(spoken(await client.done()), /^The order so far/);
  await client.say("that's all");
  assert.match(spoken(await client.done()), /^Order \d+ went to the kitchen/);
  await assertOrdered(relay, 'page-socket');
  await client.page.evaluate(() => window.waiter.session.close());
  await hungUp(relay, 'page-socket');
  await client.faultless();
});
