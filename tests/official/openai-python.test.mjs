// The `openai` package for Python: only the address is ours, and it comes from the environment.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { assertOrdered, hungUp, MODEL, startRelay, token } from './kit.mjs';

const program = fileURLToPath(new URL('client.py', import.meta.url));
/** A case says itself what it waits for in vain; this is for a program that hangs. */
const LIMIT_MS = 60_000;

let relay;
before(async () => {
  relay = await startRelay();
});
after(() => relay?.stop());

/** What `client.py` saw in that case; afterwards nothing is left at the relay. */
async function run(name) {
  const { TAUTLINE_PYTHON: python, TAUTLINE_OPENAI_PYTHON: packages } = process.env;
  assert.ok(python && packages, 'the Python packages are not there: "npm test -- official" installs them');
  const child = spawn(python, [program, name, MODEL], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LIMIT_MS,
    env: { ...process.env, PYTHONPATH: packages, OPENAI_BASE_URL: `${relay.url}/v1`, OPENAI_API_KEY: await token(relay, name) },
  });
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr']) child[stream].setEncoding('utf8').on('data', (chunk) => (said[stream] += chunk));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, said.stderr);
  await hungUp(relay, name);
  const { model, errors, malformed, ...seen } = JSON.parse(said.stdout);
  assert.equal(model, MODEL);
  assert.deepEqual(errors, []);
  assert.deepEqual(malformed, [], 'every event is of the shape that the package states');
  return seen;
}

test('a text turn', async () => {
  const { instructions, status, text, deltas } = await run('text');
  assert.deepEqual([instructions, status], ['Be brief.', 'completed']);
  assert.match(text, /good morning/);
  assert.equal(deltas, text);
});

test('an audio turn, ended by turn detection', async () => {
  const { turn, transcript, heard_ms } = await run('audio');
  assert.deepEqual(turn, ['speech_started', 'speech_stopped', 'committed'].map((name) => `input_audio_buffer.${name}`));
  assert.match(transcript, /^I heard 0\.8 s of sound, .* near 440 Hz/);
  assert.ok(heard_ms >= 800 && heard_ms < 2_000, `${heard_ms} ms came back`);
});

test('a turn that the client ends', async () => {
  assert.match((await run('committed')).transcript, /^I heard 0\.5 s of sound/);
});

test('function calls: one that the client runs, one that the relay runs', async () => {
  const { call, added, submitted, done, made } = await run('order');
  assert.deepEqual(call, ['add_to_order', [['Bacon burger', 2], ['Cola', 1]]]);
  assert.match(added, /^The order so far: 2 Bacon burger/);
  assert.deepEqual([submitted, made], ['submit_order', true]);
  assert.match(done, /^Order \d+ went to the kitchen/);
  await assertOrdered(relay, 'order');
});

test('a response is cancelled, and cut to what was heard', async () => {
  const { heard_ms, ...ended } = await run('cancel');
  assert.deepEqual(ended, { status: 'cancelled', reason: 'client_cancelled', audio_end_ms: 100 });
  assert.ok(heard_ms < 8_000, `${heard_ms} ms came back`);
});

test('closing', async () => {
  assert.deepEqual(await run('close'), { state: 'completed' });
});
