// Services, order sets, managers and calls over either transport, made and dropped in random order while everything goes wrong
// around them: a thousand with `npm run soak:browser`, some of them here. A failure says its seed, which TAUTLINE_SEED plays again.

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect, test } from '@playwright/test';
import { LAB_ORIGIN, playObjects, startLab, startRelay } from './harness/index.mjs';
import { direction, slopeOf } from '../../pkg/dist/trend.js';

const COUNT = Number(process.env.TAUTLINE_OBJECTS ?? 108);
const SEED = Number(process.env.TAUTLINE_SEED ?? Math.floor(Math.random() * 2 ** 31));
/** Rounds before the first that counts: what browser and module make once, and code that is compiled. */
const WARM_UP = 3;
const ROUNDS = COUNT > 500 ? 23 : 12;
/** A round counts as this long: the estimator's confidence comes of order, not of time. */
const ROUND_MS = 60_000;
/** What either has to rise by, at least, to be called growing: as for `resources.memory()`. */
const LEAST = 1_000_000;

test('of what is made and dropped in random order nothing is left', async ({ page }) => {
  test.setTimeout(COUNT * 2_000 + 60_000);
  const [relay, lab] = await Promise.all([startRelay({ www: null, args: LAB_ORIGIN }), startLab()]);
  try {
    console.log(`seed ${SEED}`);
    await page.goto(`${lab.url}/`);
    await page.waitForFunction(() => window.tautline !== undefined);
    const objects = Math.ceil(COUNT / ROUNDS);
    const played = await playObjects(page, { relay, seed: SEED, rounds: ROUNDS, objects, told: COUNT > 500 ? console.log : undefined });
    const counted = played.samples.slice(WARM_UP);
    const series = (what) => counted.map((sample, round) => ({ at: round * ROUND_MS, value: sample[what] }));
    const slopes = Object.fromEntries(['heap', 'wasm', 'nodes', 'listeners'].map((what) => [what, slopeOf(series(what))]));
    mkdirSync('test-results', { recursive: true });
    writeFileSync('test-results/objects.json', JSON.stringify({ seed: SEED, warmUp: WARM_UP, ...played, slopes }));

    for (const what of ['heap', 'wasm']) {
      expect(slopes[what], 'enough rounds to tell').not.toBeNull();
      expect(direction(slopes[what], counted[0][what], LEAST), `${what} of seed ${SEED}: ${JSON.stringify(slopes[what])}`).toBeLessThanOrEqual(0);
    }
    for (const what of ['nodes', 'listeners']) expect(counted.map((sample) => sample[what] - counted[0][what]).filter((more) => more > 0), what).toEqual([]);
  } finally {
    await lab.stop();
    await relay.stop();
  }
});
