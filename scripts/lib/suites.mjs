// Running a test suite and reading its counts off the runner's own closing lines.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { failures } from './failures.mjs';
import { root, start } from './run.mjs';

const sum = (text, pattern, group = 1) => [...text.matchAll(pattern)].reduce((total, found) => total + Number(found[group]), 0);

/** `cargo test`, and the wasm runner that speaks like it. */
function rust(text) {
  const line = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored/gm;
  return { passed: sum(text, line, 1), failed: sum(text, line, 2), skipped: sum(text, line, 3) };
}

/** One `cargo test` run, told apart: doc tests, the simulation, the rest. */
export function nativeSuites(text) {
  const parts = { native: '', simulation: '', 'fuzz corpus': '', 'hostile peers': '', 'doc tests': '' };
  const named = { corpus: 'fuzz corpus', hostile: 'hostile peers' };
  const suiteOf = (test) => (test.startsWith('sim') ? 'simulation' : named[test] ?? 'native');
  let now = 'native';
  for (const line of text.split('\n')) {
    const running = line.match(/^\s*(?:Running .*\(.*\/([^/]+?)-[0-9a-f]+\)|(Doc-tests) .*)$/);
    if (running) now = running[2] ? 'doc tests' : suiteOf(running[1]);
    parts[now] += `${line}\n`;
  }
  const rows = Object.entries(parts).map(([name, part]) => ({ name, ...rust(part) }));
  const schedules = parts.simulation.match(/^(\d+) schedules/m);
  if (schedules) rows[1].name = `simulation (${schedules[1]} schedules)`;
  // Documentation may well be without examples; then there is no such suite.
  return rows.filter((row) => row.name !== 'doc tests' || row.passed + row.failed + row.skipped > 0);
}

/** One target of `cargo test`, or all that wasm-pack runs. */
export const rustSuite = (name) => (text) => [{ name, ...rust(text) }];

/** `node --test`, or vitest. */
export function nodeSuite(name) {
  return (text) => {
    const vitest = text.match(/^\s*Tests\s+.*$/m)?.[0];
    const count = (word) => (vitest ? sum(vitest, new RegExp(`(\\d+) ${word}`, 'g')) : 0);
    return [{
      name,
      passed: count('passed') + sum(text, /^(?:ℹ|#) pass (\d+)$/gm),
      failed: count('failed') + sum(text, /^(?:ℹ|#) fail (\d+)$/gm),
      skipped: count('skipped') + sum(text, /^(?:ℹ|#) (?:skipped|todo) (\d+)$/gm),
    }];
  };
}

/** `tsc`, which counts errors only. */
export const typesSuite = (name) => (text) => [{ name, failed: text.match(/error TS\d+/g)?.length ?? 0 }];

/** Playwright, whose list has no stable closing line for every case: its JSON report says it. */
export function playwrightSuite() {
  const { stats } = JSON.parse(readFileSync(join(root, 'test-results/e2e.json'), 'utf8'));
  // A test that passed only when tried again has failed once.
  return [{ name: 'end to end (Playwright)', passed: stats.expected, failed: stats.unexpected + stats.flaky, skipped: stats.skipped }];
}

/** The Autobahn cases, as kosoku's report says: a case that is not strict, or that was not run, has failed. */
export function autobahnSuite(folder, expected) {
  return () => {
    const cases = Object.values(JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'))).flatMap((agent) => Object.entries(agent));
    const good = (verdict) => verdict === 'OK' || verdict === 'INFORMATIONAL';
    const bad = cases.filter(([, { behavior, behaviorClose }]) => !good(behavior) || !good(behaviorClose));
    for (const [id, { behavior, behaviorClose }] of bad) console.log(`case ${id}: ${behavior}, close ${behaviorClose}`);
    const groups = new Set(cases.map(([id]) => id.split('.')[0]));
    const missing = expected.filter((group) => !groups.has(group));
    if (missing.length) console.log(`no case of group ${missing.join(', ')} ran`);
    return [{ name: 'autobahn (kosoku)', passed: cases.length - bad.length, failed: bad.length + missing.length, skipped: 0 }];
  };
}

/** Runs a suite, its output shown as it comes; rows of the closing table. `running` is called once its first test program runs. */
export async function suite(title, command, args, { env, rows, needsAll = false, running }) {
  console.log(`\n── ${title}: ${[command.split('/').at(-1), ...args].join(' ')}`);
  const began = Date.now();
  const child = start(command, args, { env: { ...process.env, ...env } });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (chunk) => {
      text += chunk;
      process.stdout.write(chunk);
      if (running && /^\s*Running /m.test(chunk)) {
        running();
        running = undefined;
      }
    });
  }
  const { code, signal, error } = await child.ended;
  const seconds = (Date.now() - began) / 1000;
  const plain = text.replace(/\x1b\[[0-9;]*m/g, '');
  let counted;
  try {
    counted = rows(plain);
  } catch {
    counted = [{ name: title, passed: 0, failed: 0, skipped: 0 }];
  }
  counted[0].seconds = seconds;
  for (const row of counted) {
    if (row.failed > 0) row.problem = `${row.failed} failed`;
    else if (row.passed === 0) row.problem = 'no test ran';
    else if (needsAll && row.skipped > 0) row.problem = `${row.skipped} skipped`;
  }
  const ended = error ? error.message : signal ?? code;
  if (ended !== 0 && !counted.some((row) => row.failed > 0)) counted[0].problem = `ended with ${ended}`;
  const bad = counted.find((row) => row.problem);
  if (bad) bad.failures = failures(plain);
  return counted;
}

/** The closing table. */
export function table(rows) {
  const cells = [['suite', 'passed', 'failed', 'skipped', 'time', '']];
  for (const row of rows) {
    const time = row.seconds === undefined ? '' : `${row.seconds.toFixed(1)} s`;
    cells.push([row.name, `${row.passed ?? ''}`, `${row.failed}`, `${row.skipped ?? ''}`, time, row.problem ?? 'ok']);
  }
  const widths = cells[0].map((_, column) => Math.max(...cells.map((row) => row[column].length)));
  const pad = (cell, column) => (column === 0 || column === 5 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]));
  return cells.map((row) => row.map(pad).join('   ').trimEnd()).join('\n');
}
