// A call on the page: spoken, heard back, typed, ordered, sent to the kitchen, and over without a trace.

import { chromium, expect, test } from '@playwright/test';
import {
  connection, EMPTY_LEDGER, freePort, heardEnergy, inCall, liveMedia, meter, NO_MEDIA, openDisplay, part, SAID, say, startCall, startRelay, startUdpProxy, ticket, voiceLedger, voiceSessions, watchMedia,
} from './harness/index.mjs';

test.use({ viewport: { width: 1920, height: 1080 } });

let relay;
test.beforeAll(async () => {
  relay = await startRelay();
});
test.afterAll(() => relay?.stop());

const fault = (page) => part(page, 'fault');
const guestLines = (page) => part(page, 'transcript').locator('[data-who=guest]');
const answers = (page) => part(page, 'transcript').locator('[data-who=answer]');

async function open(page, restaurant) {
  const errors = [];
  page.on('pageerror', ({ message }) => errors.push(message));
  await watchMedia(page);
  await openDisplay(page, relay.url, { restaurant });
  return errors;
}

/**
 * What the panel says of a call that is there, from now on, when that changes; the function answers it so far. In a call it also
 * says who speaks, and then "In a call" once more.
 */
async function statesTold(page) {
  const states = ['Calling again', 'In a call', 'No call'];
  await page.evaluate((known) => {
    const element = document.querySelector('[data-testid=voice-state]');
    window.__told = [];
    let last = 'In a call';
    new MutationObserver(() => {
      const text = element.textContent;
      if (!known.includes(text) || text === last) return;
      last = text;
      window.__told.push(text);
    }).observe(element, { childList: true, characterData: true, subtree: true });
  }, states);
  return () => page.evaluate(() => window.__told);
}

/** Highest stand of a meter while something goes on. */
async function peak(page, which) {
  let top = 0;
  await expect.poll(async () => (top = Math.max(top, await meter(page, which))), { intervals: [25], timeout: 15_000 }).toBeGreaterThan(0.2);
  return top;
}

test('press, speak, and hear it back', async ({ page }) => {
  const restaurant = 'spoken';
  const errors = await open(page, restaurant);
  await startCall(page);
  await expect.poll(async () => (await voiceSessions(relay, restaurant)).length).toBe(1);

  // The fake microphone beeps once a second: held for a moment, there is something to say back.
  const talk = part(page, 'talk');
  const box = await talk.boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
  await expect(talk).toHaveAttribute('aria-pressed', 'true');
  await peak(page, 'input');
  await page.waitForTimeout(1_200); // as long as somebody speaks
  await page.mouse.up();
  await expect(talk).toHaveAttribute('aria-pressed', 'false');

  await expect(guestLines(page)).toHaveCount(1);
  await expect(answers(page).first()).toContainText(/\d/); // it states what it measured
  await expect.poll(() => heardEnergy(page), { timeout: 15_000 }).toBeGreaterThan(0);
  await peak(page, 'output');
  await expect(part(page, 'quality')).toHaveAttribute('data-score', /^[345]/);
  await expect(fault(page)).toBeHidden();
  expect(errors).toEqual([]);
});

test('the space bar talks, and a finger that slides off still lets go', async ({ page }) => {
  await open(page, 'space');
  await startCall(page);
  const talk = part(page, 'talk');
  await expect(talk).toBeFocused();
  await page.keyboard.down('Space');
  await expect(talk).toHaveAttribute('aria-pressed', 'true');
  await page.keyboard.down('Space'); // repeats
  await page.keyboard.up('Space');
  await expect(talk).toHaveAttribute('aria-pressed', 'false');

  const box = await talk.boundingBox();
  await page.mouse.move(box.x + 10, box.y + 10);
  await page.mouse.down();
  await expect(talk).toHaveAttribute('aria-pressed', 'true');
  await page.mouse.move(5, 5);
  await page.mouse.up();
  await expect(talk).toHaveAttribute('aria-pressed', 'false');

  await part(page, 'text').focus();
  await page.keyboard.press('Space');
  await expect(part(page, 'text')).toHaveValue(' ');
  await expect(talk).toHaveAttribute('aria-pressed', 'false');
});

test('an open microphone takes turns by itself', async ({ page }) => {
  await open(page, 'open');
  await part(page, 'open').click();
  await page.locator('[data-mode=open]').click();
  await part(page, 'start').click();
  await inCall(page);
  await expect(part(page, 'talk')).toHaveAttribute('aria-pressed', 'true');
  await expect(answers(page).first()).toBeVisible({ timeout: 20_000 });
  await part(page, 'talk').click();
  await expect(part(page, 'talk')).toHaveAttribute('aria-pressed', 'false');
});

test('type an order, see it built, send it, see it in the kitchen', async ({ page }) => {
  const restaurant = 'typed';
  const errors = await open(page, restaurant);
  await startCall(page);
  await say(page, SAID);
  await expect(part(page, 'text')).toHaveValue('');
  await expect(answers(page)).toContainText(SAID); // it says what it read, and that none of it is on the menu
  await say(page, 'two bacon burgers no pickles and a cola');
  await expect(guestLines(page).last()).toHaveText(/two bacon burgers no pickles and a cola/);
  const lines = part(page, 'line');
  await expect(lines).toHaveCount(2);
  await expect(lines.nth(0)).toHaveText(/2\s*Bacon burger\s*no pickles/i);
  await expect(lines.nth(1)).toHaveText(/1\s*Cola/i);
  await expect(ticket(page)).toHaveCount(0);

  await part(page, 'submit').click();
  await expect(part(page, 'order')).toHaveAttribute('data-phase', 'sent');
  await expect(ticket(page)).toHaveCount(1);
  await expect(ticket(page)).toHaveAttribute('data-status', 'new');
  await expect(ticket(page)).toContainText(/2\s*Bacon burger/i);
  await expect(ticket(page)).toContainText(/pickles/i);
  await expect(ticket(page)).toContainText(/1\s*Cola/i);
  const [order] = await relay.orders({ restaurant });
  await expect(ticket(page, order.id)).toHaveCount(1);
  await expect(part(page, 'answer')).toContainText(String(order.order_number));
  expect(order.created_by).toMatch(/^screen-/);
  expect(errors).toEqual([]);
});

test('talking over the answer cuts it off, and the transcript says so', async ({ page }) => {
  await open(page, 'cutting');
  await startCall(page);
  await say(page, 'two bacon burgers no pickles and a cola');
  // As soon as it begins: an answer may be short.
  await page.waitForFunction(() => document.querySelector('[data-testid=voice-state]').textContent === 'Answering');
  await part(page, 'talk').focus();
  await page.keyboard.down('Space');
  await expect(part(page, 'transcript').locator('[data-interrupted]')).toHaveCount(1);
  await expect(part(page, 'state')).toHaveText('Listening');
  await page.keyboard.up('Space');
  await expect(fault(page)).toBeHidden();
});

test('a call can go through the web, with what was said, and does there what it did before', async ({ page }) => {
  const restaurant = 'web';
  const errors = await open(page, restaurant);
  await startCall(page);
  await say(page, 'two bacon burgers no pickles');
  await expect(part(page, 'line')).toHaveCount(1);
  await part(page, 'devices').click();
  await expect(part(page, 'webrtc')).toHaveAttribute('aria-pressed', 'true');
  await part(page, 'websocket').click();
  await expect.poll(() => liveMedia(page)).toMatchObject({ connections: 0, tracks: 1 });
  await inCall(page);
  await expect(part(page, 'websocket')).toHaveAttribute('aria-pressed', 'true');
  await expect(page.locator('.quality-path')).toContainText('WebSocket');
  expect(await voiceLedger(page)).toMatchObject({ peer_connection: 0, worklet: 2 });
  await expect(guestLines(page).first()).toContainText('two bacon burgers');
  await page.screenshot({ path: 'test-results/voice-websocket.png' });
  await part(page, 'devices').click();

  // Spoken, and heard back.
  const talk = part(page, 'talk');
  await talk.focus();
  await page.keyboard.down('Space');
  await peak(page, 'input');
  await page.waitForTimeout(1_200); // as long as somebody speaks
  await page.keyboard.up('Space');
  await peak(page, 'output');
  await expect(part(page, 'state')).toHaveText('In a call');
  // The order goes on, and an answer is cut off.
  await say(page, 'and a cola');
  await expect(part(page, 'line')).toHaveCount(2);
  await page.waitForFunction(() => document.querySelector('[data-testid=voice-state]').textContent === 'Answering');
  await talk.focus();
  await page.keyboard.down('Space');
  await expect(part(page, 'transcript').locator('[data-interrupted]')).toHaveCount(1);
  await page.keyboard.up('Space');
  await part(page, 'submit').click();
  await expect(ticket(page)).toHaveCount(1);
  await expect(ticket(page)).toContainText(/2\s*Bacon burger/i);
  await expect(ticket(page)).toContainText(/1\s*Cola/i);
  await expect(fault(page)).toBeHidden();
  await part(page, 'close').click();
  await expect.poll(() => voiceLedger(page)).toEqual(EMPTY_LEDGER);
  expect(await liveMedia(page)).toEqual(NO_MEDIA);
  await expect.poll(async () => (await voiceSessions(relay, restaurant)).length).toBe(0);
  expect(errors).toEqual([]);
});

test('a browser that plays nothing without a touch is told of by a button that mends it', async ({ page }) => {
  await page.addInitScript(() => {
    const { play } = HTMLMediaElement.prototype;
    window.__refusePlay = true;
    HTMLMediaElement.prototype.play = function () {
      return window.__refusePlay ? Promise.reject(new DOMException('no gesture', 'NotAllowedError')) : play.call(this);
    };
  });
  await open(page, 'gesture');
  await startCall(page);
  await expect(part(page, 'gesture')).toBeVisible();
  await page.evaluate(() => {
    window.__refusePlay = false;
  });
  await part(page, 'gesture').click();
  await expect(part(page, 'gesture')).toBeHidden();
  await say(page, 'a cola');
  await expect.poll(() => heardEnergy(page), { timeout: 15_000 }).toBeGreaterThan(0);
});

test('hanging up leaves nothing, and neither does closing the panel', async ({ page }) => {
  const restaurant = 'hangup';
  await open(page, restaurant);
  const listeners = async () => {
    const session = await page.context().newCDPSession(page);
    await session.send('Performance.enable');
    for (let n = 0; n < 3; n += 1) await session.send('HeapProfiler.collectGarbage');
    const { metrics } = await session.send('Performance.getMetrics');
    await session.detach();
    return metrics.find(({ name }) => name === 'JSEventListeners').value;
  };
  // Once, for what the browser and the module make only once.
  await startCall(page);
  await part(page, 'close').click();
  await expect.poll(() => voiceLedger(page)).toEqual(EMPTY_LEDGER);
  const before = await listeners();

  await startCall(page);
  await expect.poll(async () => (await voiceSessions(relay, restaurant)).length).toBe(1);
  expect((await liveMedia(page)).connections).toBe(1);
  await part(page, 'hang-up').click();
  await expect.poll(() => voiceLedger(page)).toEqual(EMPTY_LEDGER);
  expect(await liveMedia(page)).toEqual(NO_MEDIA);
  await expect.poll(async () => (await voiceSessions(relay, restaurant)).length).toBe(0);
  await expect(part(page, 'start')).toBeFocused();

  // In the middle of a call, while somebody talks.
  await part(page, 'start').click();
  await inCall(page);
  await page.keyboard.down('Space');
  await part(page, 'close').click();
  await page.keyboard.up('Space');
  await expect(page.locator('[data-testid=voice]')).toHaveCount(0);
  await expect(part(page, 'open')).toBeFocused();
  await expect.poll(() => voiceLedger(page)).toEqual(EMPTY_LEDGER);
  expect(await liveMedia(page)).toEqual(NO_MEDIA);
  await expect.poll(async () => (await voiceSessions(relay, restaurant)).length).toBe(0);
  await expect.poll(listeners).toBe(before);
});

test('a relay that dies in the middle of a call is told of in words, and the call heals', async ({ page }) => {
  test.setTimeout(120_000);
  const own = await startRelay();
  try {
    await watchMedia(page);
    await openDisplay(page, own.url);
    await startCall(page);
    await say(page, 'two bacon burgers no pickles and a cola');
    await expect(part(page, 'line')).toHaveCount(2);
    const told = await statesTold(page);
    await own.kill9();
    await own.restart();
    await expect.poll(told, { timeout: 30_000 }).toEqual(['Calling again', 'In a call']);
    // The conversation and the order are still there, and can go on.
    await expect(guestLines(page).first()).toContainText('two bacon burgers');
    await expect(part(page, 'line')).toHaveCount(2);
    await say(page, 'a lemonade');
    await expect(part(page, 'line')).toHaveCount(3);

    // One that stays away: the page says so, and takes the call up again when somebody wants to.
    await own.kill9();
    await expect(fault(page)).toContainText('The relay does not answer', { timeout: 60_000 });
    await expect(part(page, 'start')).toHaveText('Call again');
    await own.restart();
    await part(page, 'start').click();
    await inCall(page);
    await expect(part(page, 'line')).toHaveCount(3);
    // The orders' own connection backs off for longer, and has its own tests.
    await page.evaluate(() => window.__tautline.service.reconnectNow());
    await expect(connection(page)).toHaveAttribute('data-state', 'connected');
    await part(page, 'submit').click();
    await expect(ticket(page)).toHaveCount(1);
    await expect(ticket(page)).toContainText(/Lemonade/);
    expect((await liveMedia(page)).connections).toBe(1);
  } finally {
    await own.stop();
  }
});

test('a network that swallows the call’s packets is told of, and the call goes on when it lets them through', async ({ page }) => {
  const udp = await freePort();
  const proxy = await startUdpProxy(udp);
  const own = await startRelay({ args: ['--voice-udp', `127.0.0.1:${udp}`, '--voice-public-ip', `127.0.0.1:${proxy.port}`] });
  try {
    await watchMedia(page);
    await openDisplay(page, own.url);
    await startCall(page);
    await say(page, 'a cola');
    await expect(part(page, 'line')).toHaveCount(1);
    const told = await statesTold(page);
    proxy.cut = true;
    await expect.poll(told, { timeout: 20_000 }).toEqual(['Calling again']);
    await expect(part(page, 'talk')).toBeDisabled();
    proxy.cut = false;
    await expect.poll(told, { timeout: 20_000 }).toEqual(['Calling again', 'In a call']);
    await part(page, 'submit').click();
    await expect(ticket(page)).toContainText('Cola');
    expect((await liveMedia(page)).connections).toBe(1);
  } finally {
    await own.stop();
    await proxy.stop();
  }
});

test('the trouble buttons are for the orders’ connection, and a restart of the relay heals the call as well', async ({ page }) => {
  const own = await startRelay();
  try {
    await watchMedia(page);
    await openDisplay(page, own.url);
    await startCall(page);
    await say(page, 'a cola');
    await expect(part(page, 'line')).toHaveCount(1);
    const told = await statesTold(page);
    await page.locator('[data-testid=trouble-cut]').click();
    await expect(page.locator('[data-counter=Reconnects] dd')).toHaveText('1');
    await expect(connection(page)).toHaveAttribute('data-state', 'connected');
    expect(await told()).toEqual([]);
    await page.locator('[data-testid=trouble-restart]').click();
    await expect.poll(told, { timeout: 20_000 }).toEqual(['Calling again', 'In a call']);
    await expect(connection(page)).toHaveAttribute('data-state', 'connected');
    await part(page, 'submit').click();
    await expect(ticket(page)).toContainText('Cola');
    await expect(page.locator('.notice')).toHaveCount(0);
  } finally {
    await own.stop();
  }
});

test('a tab that is killed is gone from the relay', async ({ browser }) => {
  const restaurant = 'killed';
  const page = await browser.newPage();
  await open(page, restaurant);
  await startCall(page);
  await expect.poll(async () => (await voiceSessions(relay, restaurant)).length).toBe(1);
  const session = await page.context().newCDPSession(page);
  session.send('Page.crash').catch(() => {}); // it has nobody left to answer
  await expect.poll(async () => (await voiceSessions(relay, restaurant)).length, { timeout: 8_000 }).toBe(0);
  await page.close();
});

test('a microphone that is denied is told of in words, and the order can be typed', async ({ launchOptions }) => {
  const args = launchOptions.args.map((arg) => (arg === '--use-fake-ui-for-media-stream' ? `${arg}=deny` : arg));
  const browser = await chromium.launch({ ...launchOptions, args });
  try {
    const page = await browser.newPage();
    await open(page, 'denied');
    await part(page, 'open').click();
    await part(page, 'start').click();
    await expect(fault(page)).toContainText('may not use the microphone');
    await expect(fault(page)).not.toContainText(/NotAllowed|microphone_/);
    expect(await voiceLedger(page)).toEqual(EMPTY_LEDGER);
    await fault(page).getByRole('button').click();
    await inCall(page);
    await say(page, 'a cola');
    await expect(part(page, 'line')).toHaveCount(1);
    await expect(part(page, 'talk')).toBeDisabled();
  } finally {
    await browser.close();
  }
});

test('a role that may not hold calls is told so', async ({ page }) => {
  await watchMedia(page);
  await page.goto(`${relay.url}/?restaurant_id=forbidden&role=kitchen`);
  await part(page, 'open').click();
  await part(page, 'start').click();
  await expect(fault(page)).toContainText('may not take orders by voice');
  await expect.poll(() => liveMedia(page)).toEqual(NO_MEDIA);
});

test('devices can be picked in a call without another call', async ({ page }) => {
  await open(page, 'devices');
  await startCall(page);
  await part(page, 'devices').click();
  const microphones = part(page, 'microphone').locator('option:not([value=""])');
  await expect(microphones).not.toHaveCount(0);
  await part(page, 'microphone').selectOption({ index: (await microphones.count()) });
  await expect(fault(page)).toBeHidden();
  await expect.poll(async () => (await liveMedia(page)).tracks).toBe(1);
  expect((await liveMedia(page)).connections).toBe(1);
  await inCall(page);
});
