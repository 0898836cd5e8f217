// The virtual clock: nothing happens by itself, and everything that is due happens in order.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTestRelay } from '../../dist/testing.js';
import { withRelay } from './kit.mjs';

const NOON = Date.UTC(2026, 0, 1, 12);

async function installed(body, options) {
  const relay = (await createTestRelay(options)).install();
  try {
    await body(relay.clock, relay);
  } finally {
    relay.dispose();
  }
}

test('time stands still, and goes on as far as it is told to', () =>
  installed(async (clock) => {
    const began = performance.now();
    assert.deepEqual([Date.now(), new Date().toISOString(), clock.now()], [NOON, '2026-01-01T12:00:00.000Z', NOON]);
    await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(90_000);
    assert.deepEqual([Date.now() - NOON, performance.now() - began, new Date(0).getTime()], [90_000, 90_000, 0]);
    assert.ok(new Date() instanceof Date);
    assert.match(Date(), /^Thu Jan 01 2026/);
  }));

test('timers fire in the order of their time, then of their making; promises are told between them', () =>
  installed(async (clock) => {
    const told = [];
    setTimeout(() => told.push('b'), 20);
    setTimeout((what) => void Promise.resolve().then(() => told.push(what)), 10, 'a');
    setTimeout(() => told.push('c'), 20);
    const every = setInterval(() => told.push(Date.now() - NOON), 8);
    const never = setTimeout(() => told.push('never'), 5);
    clearTimeout(never);
    await clock.advance(24);
    clearInterval(every);
    await clock.advance(100);
    assert.deepEqual(told, [8, 'a', 16, 'b', 'c', 24]);
  }));

test('a timer without a delay is due at once', () =>
  installed(async (clock) => {
    let done = false;
    setTimeout(() => (done = true));
    await clock.advance();
    assert.equal(done, true);
    const again = () => setTimeout(again);
    again();
    await assert.rejects(clock.advance(), /sets itself again without a delay/);
  }));

test('runUntil goes from timer to timer, and no further than it must', () =>
  installed(async (clock) => {
    let n = 0;
    const every = setInterval(() => (n += 1), 1_000);
    assert.equal(await clock.runUntil(() => n >= 3 && n), 3);
    assert.equal(clock.now() - NOON, 3_000);
    assert.equal(await clock.runUntil(new Promise((resolve) => void setTimeout(resolve, 500, 'there'))), 'there');
    assert.equal(clock.now() - NOON, 3_500);
    await assert.rejects(clock.runUntil(Promise.reject(new RangeError('so')), {}), RangeError);
    clearInterval(every);
  }));

test('runUntil says why it gives up: time, or nothing left; with the seed and the last error', () =>
  installed(async (clock) => {
    const every = setInterval(() => {}, 1_000);
    const refused = () => {
      throw new Error('not yet');
    };
    await assert.rejects(clock.runUntil(refused, { withinMs: 5_000 }), ({ message, cause }) => /not within 5000 ms of the virtual clock \(seed 7/.test(message) && cause.message === 'not yet');
    clearInterval(every);
    await assert.rejects(clock.runUntil(() => false), /nothing is left to happen/);
  }, { seed: 7 }));

test('what is outside of the clock is waited for', () =>
  installed(async (clock) => {
    const { setTimeout: real } = await import('node:timers/promises');
    assert.equal(await clock.runUntil(real(20, 'outside')), 'outside');
  }));

test('a handle of Node stays one', () =>
  installed(async (clock) => {
    let n = 0;
    const timer = setTimeout(() => (n += 1), 100);
    assert.equal(timer.unref(), timer);
    await clock.advance(60);
    timer.refresh();
    await clock.advance(60);
    assert.equal(n, 0);
    await clock.advance(40);
    assert.equal(n, 1);
  }));

test('the same seed is the same run, another is another', async () => {
  const runs = [];
  for (const seed of [3, 3, 4]) {
    await withRelay({ relay: { seed } }, async ({ relay, clock, heard }) => {
      const waits = [];
      relay.fault('refuse');
      relay.fault('cut');
      await clock.advance(60_000);
      for (const { delayMs } of heard('reconnecting')) waits.push(delayMs);
      relay.heal();
      await clock.advance(60_000);
      runs.push([waits, relay.clock.now()]);
    });
  }
  assert.ok(runs[0][0].length > 3);
  assert.deepEqual(runs[0], runs[1]);
  assert.notDeepEqual(runs[0], runs[2]);
});

test('an hour of a client takes no hour', async () => {
  const began = performance.now();
  await withRelay({}, async ({ relay, clock, service }) => {
    await clock.advance(3_600_000);
    assert.equal(service.isConnected(), true);
    relay.createOrder();
    await clock.advance();
    assert.equal(service.freshness().live, true);
  });
  assert.ok(performance.now() - began < 10_000);
});

test("with clock: 'none' time is the page's, and runUntil waits for it", async () => {
  const relay = await createTestRelay({ clock: 'none' });
  assert.ok(Math.abs(relay.clock.now() - performance.now()) < 1_000);
  assert.throws(() => relay.clock.advance(5), /vi\.advanceTimersByTimeAsync/);
  assert.equal(await relay.clock.runUntil(new Promise((resolve) => void setTimeout(resolve, 10, 'real'))), 'real');
  await assert.rejects(relay.clock.runUntil(() => false, { withinMs: 5 }), /not within 5 ms/);
  relay.dispose();
});

test('React is told that what happens meanwhile is no act of the test', async () => {
  globalThis.IS_REACT_ACT_ENVIRONMENT = true;
  try {
    await installed(async (clock) => {
      let seen;
      setTimeout(() => (seen = globalThis.IS_REACT_ACT_ENVIRONMENT), 5);
      await clock.advance(10);
      assert.equal(seen, false);
      assert.equal(globalThis.IS_REACT_ACT_ENVIRONMENT, true);
    });
  } finally {
    delete globalThis.IS_REACT_ACT_ENVIRONMENT;
  }
});
