// `npm run soak:browser`: a thousand objects of the package in one page, made and dropped in random order while everything goes
// wrong around them (tests/e2e/objects.spec.mjs). `--count N`, `--seed N`; `--write` puts the figures into docs/reliability.md. With
// TAUTLINE_RELAY_PROGRAM nothing of the relay is compiled.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { withSection } from '../bench/lib/bench.mjs';
import { buildPackage, buildRelay } from './lib/build.mjs';
import { Failure, main, root } from './lib/run.mjs';
import { setup } from './lib/setup.mjs';
import { playwrightSuite, suite, table } from './lib/suites.mjs';

const PAGE = join(root, 'docs/reliability.md');

/** How often each value of a member occurs, the most frequent first. */
function tally(lives, member) {
  const counts = new Map();
  for (const life of lives) counts.set(life[member], (counts.get(life[member]) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a).map(([value, count]) => `${value} ${count}`).join(', ');
}

function section({ seed, warmUp, lives, kills, reported, kept, samples, slopes }) {
  const list = (what, unit, digits) => samples.map((sample) => (sample[what] / unit).toFixed(digits)).join(', ');
  const same = (what) => (new Set(samples.slice(warmUp).map((sample) => sample[what])).size === 1 ? `${samples.at(-1)[what]} after every round` : list(what, 1, 0));
  const { perHour, low, high } = slopes.heap;
  // A round counts as a minute there.
  const each = (value) => `${Math.round(value / 60 / (lives.length / samples.length))}`;
  return `\`npm run soak:browser -- --count ${lives.length} --write\`, seed ${seed}: ${lives.length} objects in one page, six at a time, in ${samples.length} rounds. After each the
ledger and what the browser has of sockets, peer connections, microphone tracks and audio contexts are at zero; each of the ${reported}
objects that were forgotten was reported, once; afterwards the relay had no session, and the collector had taken every socket. Closed
as they were, the browser itself kept ${kept.peers} peer connections and ${kept.contexts} of ${kept.contextsMade} audio contexts.

| | how many |
| --- | --- |
| what they were | ${tally(lives, 'kind')} |
| what went wrong | ${tally(lives, 'trouble')}, the relay killed ${kills} times |
| how they ended | ${tally(lives, 'end')} |
| listeners (\`JSEventListeners\`) | ${same('listeners')} |
| nodes (\`Nodes\`) | ${same('nodes')} |
| wasm memory, MB | ${same('wasm') === list('wasm', 1, 0) ? list('wasm', 1e6, 2) : (samples.at(-1).wasm / 1e6).toFixed(2) + ' after every round'} |
| heap after the collector (\`JSHeapUsedSize\`), MB | ${list('heap', 1e6, 2)} |

Of the rounds after the ${warmUp === 3 ? 'third' : `first ${warmUp}`}, by the estimator of \`resources.memory()\` (\`pkg/src/trend.ts\`: slopes of Theil and Sen, Kendall's test at 99.9 %): ${each(perHour)} bytes of
heap for an object, from ${each(low)} to ${each(high)}. What it is made of was not accounted for to the end: compiled code and the browser's own records are among it.
It would be called a rise from a tenth of the level on, or a megabyte.`;
}

await main(async () => {
  const { values } = parseArgs({ options: { count: { type: 'string', default: '1000' }, seed: { type: 'string' }, write: { type: 'boolean', default: false } } });
  const count = Number(values.count);
  if (!(count > 500)) throw new Failure('--count takes more than 500: fewer are in npm test.');
  await setup('test');
  const program = process.env.TAUTLINE_RELAY_PROGRAM ?? (await buildRelay());
  await buildPackage();
  const cli = join(root, 'node_modules/@playwright/test/cli.js');
  const rows = await suite('objects', process.execPath, [cli, 'test', '--config', 'tests/e2e/playwright.config.mjs', 'objects'], {
    rows: playwrightSuite,
    needsAll: true,
    env: { TAUTLINE_RELAY_PROGRAM: program, TAUTLINE_OBJECTS: String(count), ...(values.seed ? { TAUTLINE_SEED: values.seed } : {}) },
  });
  console.log(`\n${table(rows)}\n`);
  if (rows.some((row) => row.problem)) return 1;
  const text = section(JSON.parse(readFileSync(join(root, 'test-results/objects.json'), 'utf8')));
  console.log(text);
  if (values.write) writeFileSync(PAGE, withSection(readFileSync(PAGE, 'utf8'), 'objects', text));
  return 0;
});
