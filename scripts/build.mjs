// `npm run build`: everything of the npm package that is generated. With `--tests` the browser tests are compiled as well.

import { buildPackage } from './lib/build.mjs';
import { main } from './lib/run.mjs';
import { setup } from './lib/setup.mjs';
import { compileWasm } from './lib/wasm.mjs';

await main(async () => {
  const tests = process.argv.includes('--tests');
  await setup(tests ? 'test' : 'build');
  if (tests) await compileWasm();
  await buildPackage();
  if (tests) return;
  // Imported here, when the bundler it weighs with is there.
  const { lines, parts } = await import('./lib/size.mjs');
  for (const line of lines(await parts())) console.log(line);
});
