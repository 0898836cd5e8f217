// What every benchmark has in common: its flags, its packages, and where its tables go.

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, main, root, step } from '../../scripts/lib/run.mjs';
import { npm } from '../../scripts/lib/setup.mjs';

export const benchDir = join(root, 'bench');
const page = join(root, 'docs/performance.md');

/** The packages of bench/package-lock.json, installed when that file has changed. */
async function packages() {
  const lock = createHash('sha256').update(readFileSync(join(benchDir, 'package-lock.json'))).digest('hex');
  const stamp = join(benchDir, 'node_modules/.lock');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  const [command, args] = npm('ci', '--prefix', 'bench', '--no-audit', '--no-fund');
  await step({ what: 'Installing what is compared with', usual: '20 s', log: 'bench-npm', command, args, tail: 20 });
  writeFileSync(stamp, lock);
}

/** `--rounds 5 --write` with the defaults given; a flag nobody knows is an error. */
function flags(defaults) {
  const options = { write: false, ...defaults };
  const args = process.argv.slice(2);
  const known = `flags: ${Object.keys(options).map((name) => `--${name}`).join(' ')}`;
  while (args.length > 0) {
    const arg = args.shift();
    const name = arg.startsWith('--') ? arg.slice(2) : undefined;
    if (name === undefined || !(name in options)) throw new Failure(`"${arg}" is not known; ${known}.`);
    if (typeof options[name] === 'boolean') options[name] = true;
    else {
      const value = args.shift();
      if (value === undefined) throw new Failure(`"${arg}" needs a value.`);
      options[name] = typeof options[name] === 'number' ? Number(value) : value;
      if (Number.isNaN(options[name])) throw new Failure(`"${arg}" needs a number, not "${value}".`);
    }
  }
  return options;
}

/**
 * A benchmark's whole program. `body` gets its options and returns the Markdown of its section, and charts by name;
 * they are printed, and with `--write` also put into docs/performance.md and docs/charts. `failed` says what may not be so.
 * @param {string} name its markers in the page: `<!-- name:begin -->`, `<!-- name:end -->`
 * @param {Record<string, number | string | boolean>} defaults its flags
 * @param {(options: any) => Promise<{ text: string, charts?: Record<string, string>, failed?: string }>} body
 */
export function bench(name, defaults, body) {
  return main(async () => {
    const options = flags(defaults);
    await packages();
    const { text, charts = {}, failed } = await body(options);
    console.log(`\n${text}\n`);
    if (options.write) write(name, text, charts);
    if (failed) throw new Failure(failed);
  });
}

function write(name, text, charts) {
  for (const [chart, svg] of Object.entries(charts)) {
    mkdirSync(join(root, 'docs/charts'), { recursive: true });
    writeFileSync(join(root, `docs/charts/${chart}.svg`), svg);
  }
  writeFileSync(page, withSection(readFileSync(page, 'utf8'), name, text));
  console.log('Written to docs/performance.md.');
}

/** The page with one benchmark's section replaced, or added at the end. */
export function withSection(whole, name, text) {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const section = `${begin}\n${text.trim()}\n${end}`;
  const [from, to] = [whole.indexOf(begin), whole.indexOf(end)];
  if (from < 0) return `${whole.trimEnd()}\n\n${section}\n`;
  if (to < from) throw new Failure(`docs/performance.md has ${begin} and after it no ${end}: put it back, or take both away.`);
  return whole.slice(0, from) + section + whole.slice(to + end.length);
}
