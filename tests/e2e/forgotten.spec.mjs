// What a page forgets without ending it: the collector finds it, what it held of the browser and of the relay is gone, and
// the console says so once. What works for somebody who listens is let be.

import { expect, test } from '@playwright/test';
import { browserCounts, LAB_ORIGIN, liveMedia, NO_MEDIA, startLab, startRelay, voiceSessions, watchMedia } from './harness/index.mjs';

const restaurant = 'forgotten';
let relay;
let lab;
test.beforeAll(async () => {
  [relay, lab] = await Promise.all([startRelay({ www: null, args: LAB_ORIGIN }), startLab()]);
});
test.afterAll(async () => {
  await lab?.stop();
  await relay?.stop();
});

/** The bare page; what its console warned of. */
async function open(page) {
  const warned = [];
  page.on('console', (message) => message.type() === 'warning' && warned.push(message.text()));
  await watchMedia(page);
  await page.exposeFunction('getToken', () => relay.token({ restaurant }));
  await page.goto(`${lab.url}/`);
  await page.waitForFunction(() => window.tautline !== undefined);
  await page.evaluate(([url, restaurantId]) => {
    const getToken = () => window.getToken();
    window.service = () => new window.tautline.WebSocketService({ url: `${url}/ws`, restaurantId, getToken });
    window.voice = (options) => new window.tautline.VoiceConnection({ relay: url, restaurantId, getToken, ...options });
  }, [relay.url, restaurant]);
  return warned;
}

const held = (page) => page.evaluate(() => window.tautline.resources.list().map(({ kind, owner }) => `${kind} ${owner}`));

/** Which classes the console says were forgotten; each says where it was made. */
const forgotten = (warned) => warned.map((text) => text.match(/^tautline: a (\w+) was forgotten without dispose\(\)[^]*made at\n[^]*evaluate/)?.[1] ?? text);

/** Until the collector has found everything. */
async function collected(page) {
  await expect.poll(async () => {
    await browserCounts(page); // collects
    return held(page);
  }, { timeout: 20_000 }).toEqual([]);
  await expect.poll(() => liveMedia(page)).toEqual(NO_MEDIA);
  await expect.poll(async () => (await relay.sessions({ restaurant })).length, { timeout: 20_000 }).toBe(0);
}

test('a connection, its order set and its manager', async ({ page }) => {
  const warned = await open(page);
  const before = await browserCounts(page);
  // Asked before it is forgotten: the collector may come at once.
  const connected = await page.evaluate(async () => {
    const service = window.service();
    new window.tautline.OrderUpdates(service).initialize();
    await new window.tautline.ConnectionManager(service).connect();
    await service.setFilter({ events: ['order:created'] });
    return service.isConnected();
  });
  expect(connected).toBe(true);
  await collected(page);
  expect(forgotten(warned)).toEqual(['WebSocketService']);
  expect((await browserCounts(page)).listeners).toBe(before.listeners);
});

for (const transport of ['webrtc', 'websocket']) {
  test(`a call over ${transport}, with its microphone`, async ({ page }) => {
    const warned = await open(page);
    const before = await browserCounts(page);
    const during = await page.evaluate(async (over) => {
      const call = window.voice({ transport: over });
      await call.connect();
      return [call.isConnected(), ...call.getMicrophoneStream().getTracks().map(({ readyState }) => readyState)];
    }, transport);
    expect(during).toEqual([true, 'live']);
    await collected(page);
    expect(forgotten(warned)).toEqual(['VoiceConnection']);
    expect((await browserCounts(page)).listeners).toBe(before.listeners);
  });

  test(`a call over ${transport} that somebody listens to is let be, and found when it is over`, async ({ page }) => {
    const warned = await open(page);
    await page.evaluate(async (over) => {
      window.states = [];
      const call = window.voice({ transport: over, maxReconnectAttempts: 0 });
      call.on('connection.change', (state) => window.states.push([state, call.isMuted()]));
      await call.connect();
    }, transport);
    for (let n = 0; n < 3; n += 1) await browserCounts(page);
    const sessions = await voiceSessions(relay, restaurant);
    expect(sessions.length).toBe(1);
    expect(warned).toEqual([]);
    const headers = { authorization: `Bearer ${await relay.token({ restaurant })}` };
    await fetch(`${relay.url}/api/v1/sessions/${sessions[0].id}`, { method: 'DELETE', headers });
    await expect.poll(() => page.evaluate(() => window.states.at(-1)[0]), { timeout: 20_000 }).toBe('error');
    await collected(page);
    expect(forgotten(warned)).toEqual(['VoiceConnection']);
  });
}

test('a microphone that was only asked for', async ({ page }) => {
  const warned = await open(page);
  const during = await page.evaluate(async () => {
    const call = window.voice();
    call.on('microphone.ended', () => call.dispose());
    const stream = await call.setupMicrophone();
    return [call.getConnectionState(), ...stream.getTracks().map(({ readyState }) => readyState)];
  });
  expect(during).toEqual(['disconnected', 'live']);
  await collected(page);
  expect(forgotten(warned)).toEqual(['VoiceConnection']);
});

test('subscriptions keep a connection, and their end lets it go', async ({ page }) => {
  const warned = await open(page);
  await page.evaluate(async () => {
    window.heard = [];
    const service = window.service();
    service.subscribe('order:*', ({ order }) => window.heard.push(order.id));
    service.once('disconnected', () => service.disconnect());
    await service.connect();
  });
  for (let n = 0; n < 3; n += 1) await browserCounts(page);
  const { id } = await relay.postOrder({}, { restaurant });
  await expect.poll(() => page.evaluate(() => window.heard)).toEqual([id]);
  expect(warned).toEqual([]);
  await relay.trouble('cut');
  await collected(page);
  expect(forgotten(warned)).toEqual(['WebSocketService']);
});
