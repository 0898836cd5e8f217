// `npm run bench -- NAME [flags]`: one of the benchmarks beside this file.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, main } from '../scripts/lib/run.mjs';
import { benchDir } from './lib/bench.mjs';

const [name, ...flags] = process.argv.slice(2);
const names = readdirSync(benchDir).filter((file) => file.endsWith('.mjs') && file !== 'run.mjs').map((file) => file.slice(0, -4));
if (names.includes(name)) {
  process.argv = [process.argv[0], join(benchDir, `${name}.mjs`), ...flags];
  await import(`./${name}.mjs`);
} else {
  await main(() => {
    throw new Failure(`${name === undefined ? 'Which benchmark?' : `There is no benchmark "${name}".`} There are: ${names.join(', ')}.`);
  });
}
