// What `install()` takes and `dispose()` gives back; and what a test is told that it left behind.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTautline, resources } from '../../dist/index.js';
import { createTestRelay } from '../../dist/testing.js';
import './kit.mjs'; // which loads the client's module

const GLOBALS = ['WebSocket', 'fetch', 'setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date'];
const state = () => [...GLOBALS.map((name) => Object.getOwnPropertyDescriptor(globalThis, name)), Math.random, Object.getOwnPropertyDescriptor(performance, 'now')];

test('every global is as it was, and no timer comes', async () => {
  const before = state();
  const relay = (await createTestRelay()).install();
  for (const [n, was] of before.entries()) assert.notDeepEqual(state()[n], was ?? null, `${n}`);
  let fired = false;
  setTimeout(() => (fired = true), 1);
  setInterval(() => (fired = true), 1);
  relay.dispose();
  relay.dispose();
  assert.deepEqual(state(), before);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(fired, false);
  assert.throws(() => relay.token(), /disposed/);
});

test('a function of its own that somebody kept goes to the real one afterwards', async () => {
  const real = setTimeout(() => {}, 1_000_000);
  globalThis.requestAnimationFrame = (run) => setTimeout(run, 1);
  globalThis.cancelAnimationFrame = clearTimeout;
  const relay = (await createTestRelay()).install();
  const { setTimeout: kept, requestAnimationFrame: frame } = globalThis;
  clearTimeout(real);
  relay.dispose();
  await new Promise((resolve) => void kept(resolve, 1));
  await new Promise(frame);
  assert.equal(real._destroyed, true);
  delete globalThis.requestAnimationFrame;
  delete globalThis.cancelAnimationFrame;
});

test("with clock: 'none' timers are left alone", async () => {
  const before = state();
  const relay = (await createTestRelay({ clock: 'none' })).install();
  const changed = state().flatMap((now, n) => (JSON.stringify(now?.value?.name ?? typeof now) === JSON.stringify(before[n]?.value?.name ?? typeof before[n]) && now?.value === before[n]?.value && now === before[n] ? [] : [n]));
  assert.equal(globalThis.setTimeout, before[2].value);
  assert.ok(changed.length > 0);
  relay.dispose();
  assert.deepEqual(state(), before);
});

test("with clock: 'none' no timer of the relay's is left either", async () => {
  const set = new Set();
  const { setTimeout: real, clearTimeout: clear } = globalThis;
  globalThis.setTimeout = (run, ms) => {
    const id = real(() => {
      set.delete(id);
      run();
    }, ms);
    set.add(id);
    return id;
  };
  globalThis.clearTimeout = (id) => {
    set.delete(id);
    clear(id);
  };
  try {
    const relay = (await createTestRelay({ clock: 'none' })).install();
    const { service, dispose } = await createTautline({ url: relay.url, restaurantId: 'test', getToken: () => relay.token() });
    await service.connect();
    relay.fault('slow', { ms: 100_000 });
    const asked = () => fetch('http://relay.test/healthz').then(() => 'answered', ({ name }) => name);
    const early = asked();
    while (set.size === 0) await new Promise((resolve) => setImmediate(resolve));
    // Is not on its way yet when it ends.
    const late = asked();
    service.disconnect();
    dispose();
    relay.dispose();
    assert.deepEqual(await Promise.all([early, late]), ['TypeError', 'TypeError']);
    assert.equal(set.size, 0);
  } finally {
    Object.assign(globalThis, { setTimeout: real, clearTimeout: clear });
  }
});

test('one at a time', async () => {
  const first = (await createTestRelay()).install();
  const second = await createTestRelay({ url: 'ws://other.test/ws' });
  assert.throws(() => second.install(), /another test relay is installed/);
  second.dispose();
  first.dispose();
  second.dispose();
});

test('a lease that was not released is named, with where it was acquired, and the next test is not met by it', async () => {
  const relay = (await createTestRelay()).install();
  const { manager, service } = await createTautline({ url: relay.url, restaurantId: 'test', getToken: () => relay.token() });
  async function component() {
    return manager.acquire();
  }
  await component();
  assert.deepEqual(relay.held('lease').map(({ kind }) => kind), ['lease']);
  assert.throws(() => relay.dispose(), ({ message }) => /the client still holds \d+ resources \(seed 1\)/.test(message) && /^ {2}lease: /m.test(message) && /lease: lease\n {4}at component .*install\.test\.mjs/.test(message) && !/wasm:/.test(message));
  assert.deepEqual(resources.list(), []);
  assert.throws(() => service.send('x'), ({ code }) => code === 'disposed');
  const next = (await createTestRelay()).install();
  assert.deepEqual(next.held(), []);
  next.dispose();
});

test("leaks: 'ignore' ends them without a word", async () => {
  const relay = (await createTestRelay({ leaks: 'ignore' })).install();
  const { service } = await createTautline({ url: relay.url, restaurantId: 'test', getToken: () => relay.token() });
  await service.connect();
  relay.dispose();
  assert.deepEqual(resources.list(), []);
});

test('what was held before is not this test\'s', async () => {
  const unregister = resources.register({ name: 'of the page', kind: 'thing', priority: 'low', cleanup: () => {} });
  const relay = (await createTestRelay()).install();
  assert.deepEqual(relay.held(), []);
  relay.dispose();
  unregister();
});

test('options are checked, and the message says what to pass instead', async () => {
  const wrong = [
    [{ url: '/ws' }, /whole WebSocket address/],
    [{ clock: 'fast' }, /one of virtual, none/],
    [{ seed: 0.5 }, /whole number/],
    [{ restaurant: 'a b' }, /1 to 64/],
    [{ leaks: 'no' }, /one of throw, ignore/],
    [{ heartbeatMs: 1 }, /at least 1000/],
  ];
  for (const [options, said] of wrong) await assert.rejects(createTestRelay(options), ({ code, message }) => code === 'invalid_argument' && said.test(message));
});
