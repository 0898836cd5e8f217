// Calls of the package against a real relay, with a fake microphone and real packets.

import { expect, test } from '@playwright/test';
import { freePort, LAB_ORIGIN, startLab, startRelay, startUdpProxy } from './harness/index.mjs';

let lab;
let relay;
let proxy;
const restaurant = 'calls';
/** A relay whose datagrams go through the proxy; `tcp`: connections reach it too, at the same port. */
async function startBehindProxy({ tcp = false, args = [] } = {}) {
  const udp = await freePort();
  proxy = await startUdpProxy(udp);
  const outside = `127.0.0.1:${proxy.port}`;
  const voice = ['--voice-udp', `127.0.0.1:${udp}`, '--voice-public-ip', outside, ...(tcp ? ['--voice-tcp', outside] : [])];
  relay = await startRelay({ www: null, args: [...LAB_ORIGIN, ...voice, ...args] });
}

test.beforeEach(async () => {
  [lab] = await Promise.all([startLab(), startBehindProxy()]);
});
test.afterEach(async () => {
  await lab?.stop();
  await relay?.stop();
  await proxy?.stop();
});

/** A page with a call at `window.call` and what it told at `window.told`. */
async function openCall(page, options = {}) {
  const tokens = [];
  await page.exposeFunction('getToken', async (request) => {
    const answer = await fetch(`${relay.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await relay.token({ restaurant })}`, 'content-type': 'application/json' },
      body: '{}',
    });
    const { value } = await answer.json();
    tokens.push({ ...request, value });
    return value;
  });
  await page.goto(`${lab.url}/`);
  await page.waitForFunction(() => window.tautline !== undefined);
  await page.evaluate(
    ([url, given]) => {
      window.make = () => new window.tautline.VoiceConnection({ relay: url, getToken: (request) => window.getToken(request), ...given });
      const call = window.make();
      window.call = call;
      window.told = [];
      for (const event of ['connection.change', 'disconnection', 'tool.call', 'error', 'speaking']) {
        call.on(event, (value) => window.told.push([event, value instanceof Error ? value.code : value]));
      }
      call.on('fallback', ({ from, to, reason }) => window.told.push(['fallback', [from, to, reason.code, reason.stage]]));
      call.on('rollover', () => window.told.push(['rollover', null]));
      window.loudest = 0;
      call.on('level', ({ output }) => (window.loudest = Math.max(window.loudest, output)));
    },
    [relay.url, options],
  );
  return tokens;
}

const told = (page, event) => page.evaluate((wanted) => window.told.filter(([name]) => name === wanted).map(([, value]) => value), event);
const state = (page) => page.evaluate(() => window.call.getConnectionState());
const held = (page) => page.evaluate(() => window.tautline.resources.list().map(({ kind, owner }) => `${kind} ${owner}`));
const callsOf = async () => (await relay.sessions({ restaurant })).filter(({ kind }) => kind === 'voice').length;
const type = (page, text) =>
  page.evaluate((said) => {
    window.call.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: said }] } });
    window.call.send({ type: 'response.create' });
  }, text);

test('a call says back what it heard, and takes an order that was typed', async ({ page }) => {
  const tokens = await openCall(page);
  await page.evaluate(() => window.call.connect());
  expect(await callsOf()).toBe(1);
  // The fake microphone beeps; turn detection hears it, and it is played back.
  await expect.poll(() => page.evaluate(() => window.loudest)).toBeGreaterThan(0.05);
  await expect.poll(() => told(page, 'speaking')).toContainEqual({ user: false, assistant: true });
  await expect.poll(() => page.evaluate(() => window.call.transcript().some(({ role, text }) => role === 'assistant' && text))).toBe(true);
  await expect.poll(() => page.evaluate(async () => (await window.call.stats()).path)).toBe('udp');
  expect(await page.evaluate(async () => (await window.call.stats()).score)).toBeGreaterThanOrEqual(4);

  await page.evaluate(() => window.call.disableMicrophone());
  await type(page, 'two bacon burgers no pickles and a cola');
  await expect.poll(() => told(page, 'tool.call')).toHaveLength(1);
  const [{ name, arguments: args }] = await told(page, 'tool.call');
  expect([name, JSON.parse(args).items.map(({ name: item, quantity }) => [item, quantity])]).toEqual(['add_to_order', [['Bacon burger', 2], ['Cola', 1]]]);

  await page.evaluate(() => window.call.disconnect());
  await expect.poll(callsOf).toBe(0);
  await page.evaluate(() => window.call.dispose());
  await expect.poll(() => held(page)).toEqual([]);
  expect(await told(page, 'error')).toEqual([]);
  expect(tokens.map(({ reason, attempt }) => [reason, attempt])).toEqual([['connect', 1]]);
});

test('a call whose packets stay away comes back with what was said', async ({ page }) => {
  const tokens = await openCall(page, { startMuted: true });
  await page.evaluate(() => window.call.connect());
  await type(page, 'two bacon burgers');
  await expect.poll(() => told(page, 'tool.call')).toHaveLength(1);
  const before = await page.evaluate(() => window.call.transcript().map(({ role, text }) => [role, text]));

  proxy.cut = true;
  await expect.poll(() => state(page), { timeout: 20_000 }).toBe('reconnecting');
  proxy.cut = false;
  await expect.poll(() => state(page), { timeout: 20_000 }).toBe('connected');
  expect(await told(page, 'disconnection')).toMatchObject([{ reason: 'network', willReconnect: true }]);
  expect(new Set(tokens.map(({ value }) => value)).size).toBe(tokens.length);
  expect(tokens.length).toBeGreaterThan(1);
  expect(await page.evaluate(() => window.call.transcript().map(({ role, text }) => [role, text]))).toEqual(before);
  expect(await told(page, 'tool.call')).toHaveLength(1);
  // It goes on: the new call hears and answers.
  await type(page, 'and a cola');
  await expect.poll(() => told(page, 'tool.call')).toHaveLength(2);
  await expect.poll(callsOf, { timeout: 15_000 }).toBe(1);
});

test('a network without UDP has its calls over TCP, from the start or when it closes', async ({ page }) => {
  await relay.stop();
  await proxy.stop();
  await startBehindProxy({ tcp: true });
  const path = () => page.evaluate(async () => (await window.call.stats()).path);
  const answers = async (n) => {
    await type(page, 'a cola');
    await expect.poll(() => told(page, 'tool.call'), { timeout: 15_000 }).toHaveLength(n);
  };
  proxy.cut = true;
  await openCall(page, { startMuted: true });
  await page.evaluate(() => window.call.connect());
  await expect.poll(path).toBe('tcp');
  await answers(1);
  await page.evaluate(() => window.call.disconnect());

  proxy.cut = false;
  await page.evaluate(() => window.call.connect());
  await expect.poll(path).toBe('udp');
  // The same call, where the browser has kept the other path in hand, or else another in its place.
  proxy.cut = true;
  await expect.poll(path, { timeout: 20_000 }).toBe('tcp');
  await expect.poll(() => state(page), { timeout: 10_000 }).toBe('connected');
  await answers(2);
});

/** In what is said there is one turn for each text, in order, and nothing was cut off. */
async function saidInOrder(page, texts) {
  const lines = await page.evaluate(() => window.call.transcript().map(({ role, text, interrupted }) => [role, text, interrupted]));
  expect(lines.filter(([role]) => role === 'user').map(([, text]) => text)).toEqual(texts);
  expect(lines.filter(([, , interrupted]) => interrupted)).toEqual([]);
}

test('a network that keeps packets back over UDP and TCP has its calls over a socket, and says so', async ({ page }) => {
  proxy.cut = true;
  await openCall(page, { startMuted: true, fallback: 'websocket', connectTimeoutMs: 9_000 });
  const path = () => page.evaluate(async () => (await window.call.stats()).path);
  await page.evaluate(() => window.call.connect());
  expect(await told(page, 'fallback')).toEqual([['webrtc', 'websocket', 'connect_timeout', 'ice']]);
  expect(await told(page, 'connection.change')).toEqual(['connecting', 'connected']);
  await expect.poll(path).toBe('websocket');
  await expect.poll(callsOf, { timeout: 15_000 }).toBe(1);
  await type(page, 'two bacon burgers no pickles and a cola');
  await expect.poll(() => told(page, 'tool.call')).toHaveLength(1);
  // What is spoken is said back.
  await page.evaluate(() => {
    window.call.send({ type: 'session.update', session: { type: 'realtime', audio: { input: { turn_detection: { type: 'server_vad' } } } } });
    window.call.enableMicrophone();
  });
  await expect.poll(() => told(page, 'speaking')).toContainEqual({ user: false, assistant: true });
  await expect.poll(() => page.evaluate(() => window.loudest)).toBeGreaterThan(0.05);
  await page.evaluate(() => window.call.disableMicrophone());
  // The packets get through again: so does the next call.
  proxy.cut = false;
  await page.evaluate(() => window.call.reconnect());
  await expect.poll(path).toBe('udp');
  // And in the middle of a call they do not.
  proxy.cut = true;
  await expect.poll(path, { timeout: 30_000 }).toBe('websocket');
  await expect.poll(() => state(page)).toBe('connected');
  expect((await told(page, 'disconnection')).map(({ reason, willReconnect }) => [reason, willReconnect])).toEqual([['network', true]]);
  await type(page, 'and a lemonade');
  await expect.poll(() => told(page, 'tool.call')).toHaveLength(2);
  expect(await told(page, 'error')).toEqual([]);
  await page.evaluate(() => window.call.dispose());
  await expect.poll(() => held(page)).toEqual([]);
});

for (const transport of ['webrtc', 'websocket']) {
  test(`a call outlives its sessions, one after the other, between two turns: ${transport}`, async ({ page }) => {
    test.setTimeout(120_000);
    await relay.stop();
    await proxy.stop();
    await startBehindProxy({ args: ['--session-max', '20s'] });
    const tokens = await openCall(page, { startMuted: true, transport });
    await page.evaluate(() => window.call.connect());
    const began = Date.now();
    const texts = [];
    // A minute of it, a turn every two seconds or so.
    while (Date.now() - began < 60_000) {
      texts.push(`a cola for number ${texts.length}`);
      await type(page, texts.at(-1));
      await expect.poll(() => told(page, 'tool.call')).toHaveLength(texts.length);
      const callId = (await told(page, 'tool.call')).at(-1).callId;
      await page.evaluate((id) => {
        window.call.send({ type: 'conversation.item.create', item: { type: 'function_call_output', call_id: id, output: '{"ok":true}' } });
        window.call.send({ type: 'response.create' });
      }, callId);
      await expect.poll(async () => (await told(page, 'speaking')).filter(({ assistant }) => assistant).length).toBeGreaterThanOrEqual(texts.length);
      await expect.poll(async () => (await told(page, 'speaking')).at(-1).assistant).toBe(false);
      await page.waitForTimeout(1_000); // as long as somebody thinks
    }
    expect((await told(page, 'rollover')).length).toBeGreaterThanOrEqual(3);
    expect(await told(page, 'connection.change')).toEqual(['connecting', 'connected']);
    expect([await told(page, 'disconnection'), await told(page, 'error'), await told(page, 'ice.disconnection')]).toEqual([[], [], []]);
    await saidInOrder(page, texts);
    expect(new Set(tokens.map(({ value }) => value)).size).toBe(tokens.length);
    expect(tokens.length).toBe(1 + (await told(page, 'rollover')).length);
    expect((await page.evaluate(() => window.call.stats())).reconnects).toBe(0);
    await page.evaluate(() => window.call.dispose());
    await expect.poll(() => held(page)).toEqual([]);
    await expect.poll(callsOf, { timeout: 15_000 }).toBe(0);
  });
}

test('packets that come back in time change nothing', async ({ page }) => {
  const tokens = await openCall(page, { startMuted: true });
  await page.evaluate(() => window.call.connect());
  proxy.cut = true;
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  proxy.cut = false;
  await type(page, 'a cola');
  await expect.poll(() => told(page, 'tool.call'), { timeout: 15_000 }).toHaveLength(1);
  expect([await state(page), tokens.length]).toEqual(['connected', 1]);
});

test('a lossy and slow network is told of by the score, breaks nothing, and heals', async ({ page }) => {
  const tokens = await openCall(page, { startMuted: true });
  await page.evaluate(() => window.call.connect());
  const stats = () => page.evaluate(() => window.call.stats());
  const score = async () => (await stats()).score;
  await expect.poll(score, { timeout: 15_000 }).toBeGreaterThanOrEqual(4);
  // Both ways: one in six packets, and 300 ms more there and back.
  Object.assign(proxy, { losesOneOf: 6, delayMs: 150 });
  await expect.poll(async () => (await stats()).rttMs, { timeout: 15_000 }).toBeGreaterThan(250);
  // The channel sends again what was lost: nothing is missing, and nothing is twice.
  await type(page, 'two bacon burgers no pickles and a cola');
  await expect.poll(() => told(page, 'tool.call'), { timeout: 20_000 }).toHaveLength(1);
  await page.evaluate(() => window.call.enableMicrophone());
  await expect.poll(score, { timeout: 20_000 }).toBeLessThanOrEqual(2);
  Object.assign(proxy, { losesOneOf: 0, delayMs: 0 });
  await expect.poll(score, { timeout: 40_000 }).toBeGreaterThanOrEqual(4);
  expect([await state(page), tokens.length]).toEqual(['connected', 1]);
  expect(await told(page, 'tool.call')).toHaveLength(1);
});

test('a relay that is killed and started again has its call back', async ({ page }) => {
  await openCall(page, { startMuted: true });
  await page.evaluate(() => window.call.connect());
  await relay.kill9();
  await relay.restart();
  const states = ['connecting', 'connected', 'reconnecting', 'connected'];
  await expect.poll(() => told(page, 'connection.change'), { timeout: 30_000 }).toEqual(states);
  await type(page, 'a cola');
  await expect.poll(() => told(page, 'tool.call')).toHaveLength(1);
});

test('200 calls let go of at any moment leave nothing, in the page or at the relay', async ({ page }) => {
  test.setTimeout(180_000);
  await openCall(page, { fallback: 'websocket', connectTimeoutMs: 3_000 });
  const stuck = await page.evaluate(async () => {
    let late = 0;
    for (let round = 0; round < 200; round += 1) {
      const call = window.make();
      const controller = new AbortController();
      // Every second one over a socket.
      if (round % 2) call.reconnect({ transport: 'websocket' }).catch(() => {});
      const connected = call.connect(undefined, { signal: controller.signal }).catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 120));
      [() => call.disconnect(), () => call.dispose(), () => controller.abort()][round % 3]();
      const waited = await Promise.race([connected.then(() => true), new Promise((resolve) => setTimeout(resolve, 5_000, false))]);
      if (!waited) late += 1;
      call.dispose();
    }
    window.call.dispose();
    return late;
  });
  expect(stuck).toBe(0);
  await expect.poll(() => held(page), { timeout: 10_000 }).toEqual([]);
  await expect.poll(callsOf, { timeout: 20_000 }).toBe(0);
});
