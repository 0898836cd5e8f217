// `node scripts/wasm.mjs FILE [NAME]`: the client's tests of one file (`browser`, `voice`, `rung`, `trap`) in headless Chromium, or those
// with a name. With TAUTLINE_RELAY_PROGRAM nothing of the relay is compiled.

import { buildRelay } from './lib/build.mjs';
import { Failure, main } from './lib/run.mjs';
import { setup } from './lib/setup.mjs';
import { wasm } from './lib/wasm.mjs';

await main(async () => {
  const [file, ...names] = process.argv.slice(2);
  if (file === undefined) throw new Failure('Which file? tests/browser.rs is "browser".');
  await setup('test');
  const program = process.env.TAUTLINE_RELAY_PROGRAM ?? (await buildRelay());
  const rows = await wasm(program, ['--test', file, ...(names.length ? ['--', ...names] : [])]);
  return rows.some((row) => row.problem) ? 1 : 0;
});
