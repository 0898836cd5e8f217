// Records what a version's client and relay say to each other, in both dialects, for later versions to be tested with:
//
//   node tests/wire/record.mjs 0.1 --root ../the-old-checkout --program ../the-old-checkout/target/debug/tautline-relay
//
// writes tests/wire/0.1.json. The checkout is built before (`npm run build`, `cargo build -p tautline-relay`).

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startRelay } from '../e2e/harness/relay.mjs';
import { live } from './life.mjs';
import { notingWebSocket } from './socket.mjs';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { root: { type: 'string', default: '.' }, program: { type: 'string' } } });
const [version] = positionals;
if (!version || !values.program) {
  console.error('node tests/wire/record.mjs VERSION --program RELAY [--root CHECKOUT]');
  process.exit(2);
}
const root = resolve(values.root);
const client = await import(join(root, 'pkg/dist/index.js'));
client.initSync(readFileSync(join(root, 'pkg/wasm/tautline_bg.wasm')));

async function record(plain) {
  const steps = [];
  let note = (step) => steps.push(step);
  globalThis.WebSocket = notingWebSocket((step) => note(step), { plain });
  const relay = await startRelay({ program: values.program, www: null, args: ['--heartbeat', '1s'] });
  let gate = Promise.resolve();
  let tokens = 0;
  const world = {
    async token() {
      await gate;
      tokens += 1; // no two are the same
      return relay.token({ role: 'manager', ttl: `${3_600 + tokens}s` });
    },
    holdTokens() {
      let open;
      gate = new Promise((done) => (open = done));
      return open;
    },
    async post(number) {
      const step = { world: 'post', number };
      steps.push(step); // its event may be there before its answer
      step.made = await relay.postOrder({ order_number: number });
    },
    async publish(type, payload) {
      steps.push({ world: 'publish', type, payload });
      const { status, body } = await relay.api('POST', '/events', { type, payload }, { role: 'service' });
      if (status !== 202) throw new Error(`${type}: ${status} ${JSON.stringify(body)}`);
    },
    async cut() {
      steps.push({ world: 'cut' });
      await relay.trouble('cut');
    },
    async restart() {
      steps.push({ world: 'restart' });
      await relay.restart();
    },
    seen: (matches) => steps.some((step) => step.relay && [step.relay].flat().some(matches)),
    closed: () => steps.findLast((step) => step.open)?.open === steps.findLast((step) => step.close)?.close,
  };
  try {
    const lived = await live({ client, url: `${relay.url.replace('http', 'ws')}/ws`, plain, world });
    return { steps, lived };
  } finally {
    note = () => {};
    await relay.stop();
  }
}

const commit = execFileSync('git', ['-C', root, 'rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim();
const recording = { version, commit, 'tautline.v1': await record(false), plain: await record(true) };
// A step a line, so that a difference can be read.
const lines = (part) => `{"lived": ${JSON.stringify(part.lived)},\n"steps": [\n${part.steps.map((step) => JSON.stringify(step)).join(',\n')}\n]}`;
const path = new URL(`${version}.json`, import.meta.url);
writeFileSync(path, `{"version": "${version}", "commit": "${commit}",\n"tautline.v1": ${lines(recording['tautline.v1'])},\n"plain": ${lines(recording.plain)}\n}\n`);
for (const dialect of ['tautline.v1', 'plain']) console.log(dialect, recording[dialect].steps.length, 'steps', JSON.stringify(recording[dialect].lived, null, 1));
process.exit(0);
