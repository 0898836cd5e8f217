// What the package weighs in a page, beside other clients: its parts, and whether each entry is within its budget.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildPackage } from '../scripts/lib/build.mjs';
import { setup } from '../scripts/lib/setup.mjs';
import { LIMITED, limits, overBudget, parts, weigh } from '../scripts/lib/size.mjs';
import { bench, benchDir } from './lib/bench.mjs';
import { alias } from './lib/browser.mjs';
import { machine } from './lib/machine.mjs';
import { number, table, verdict } from './lib/table.mjs';

/** What the others are for. None of them has the orders, their snapshots and the resume; those that have calls say so. */
const OTHERS = {
  'reconnecting-websocket': 'a socket that reconnects',
  partysocket: 'the same, and a client of its service',
  phoenix: 'channels, presence',
  'socket.io-client': 'a protocol of its own over WebSocket or polling',
  centrifuge: 'channels that resume',
  ably: 'channels of a service, that resume',
  'livekit-client': 'calls',
};

await bench('size', {}, async () => {
  await setup('build');
  await buildPackage();
  const facts = machine();
  const found = await parts();
  const budgets = limits();
  const kilobytes = (bytes) => number(bytes / 1000);
  const ours = found.map(({ name, part, bytes: { raw, brotli } }) => {
    const limit = LIMITED.includes(part) ? budgets[name] : undefined;
    const target = limit?.target === undefined ? '' : verdict({ median: brotli / 1000 }, { most: limit.target / 1000 });
    return [`\`${name}\`: ${part}`, kilobytes(raw), kilobytes(brotli), limit ? kilobytes(limit.budget) : '', target];
  });
  const { dependencies } = JSON.parse(readFileSync(join(benchDir, 'package.json'), 'utf8'));
  const others = [];
  for (const [name, what] of Object.entries(OTHERS)) {
    const { together } = await weigh(name, { alias });
    others.push([`${name} ${dependencies[name]}: ${what}`, together]);
  }
  const mine = ['tautline', 'tautline/core'].map((name) => [`**${name}**`, found.find((one) => one.name === name && one.part === 'together').bytes]);
  const beside = [...others, ...mine].sort(([, one], [, other]) => one.brotli - other.brotli);
  const text = [
    `## Size\n\n\`npm run size -- --write\`. ${facts}. A page that imports all that each exports, built and made small by Vite, in KB of 1 000 bytes, raw and as brotli sends it. The budgets are in \`pkg/budget.json\`: \`npm run size\` and \`npm test\` fail beyond them.`,
    table(['', 'raw', 'brotli', 'budget', 'target'], ours),
    'The worklets of a call over a socket are in the layer here, and in a page a file of their own. What is added is beside a client, and React or Vue, that the page has.',
    table(['', 'raw', 'brotli'], beside.map(([name, { raw, brotli }]) => [name, kilobytes(raw), kilobytes(brotli)])),
  ];
  return { text: text.join('\n\n'), failed: overBudget(found).join('\n') || undefined };
});
