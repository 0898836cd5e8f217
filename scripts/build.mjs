// `npm run build`: everything of the npm package that is generated.

import { buildPackage } from './lib/build.mjs';
import { main } from './lib/run.mjs';
import { setup } from './lib/setup.mjs';

await main(async () => {
  await setup('build');
  await buildPackage();
  // Imported here, when the bundler it weighs with is there.
  const { lines, parts } = await import('./lib/size.mjs');
  for (const line of lines(await parts())) console.log(line);
});
