// `npm run build`: everything of the npm package that is generated.

import { buildPackage, sizes } from './lib/build.mjs';
import { main } from './lib/run.mjs';
import { setup } from './lib/setup.mjs';

await main(async () => {
  await setup('build');
  await buildPackage();
  for (const line of sizes()) console.log(line);
});
