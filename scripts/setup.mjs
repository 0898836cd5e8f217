// `node scripts/setup.mjs` installs what building and testing need; `--check` only says what is missing.

import { main } from './lib/run.mjs';
import { report, setup } from './lib/setup.mjs';

await main(() => (process.argv.includes('--check') ? report() : setup('all')));
