// Whether a leak is told from noise, saw-teeth and steps, over seeded series.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chance } from '../../tests/e2e/harness/lab/chance.js';
import { direction, slopeOf } from '../dist/trend.js';

const MINUTE = 60_000;
const SEEDS = 200;

/** A series of half an hour, measured every ten to forty seconds. */
function series(seed, value, minutes = 30) {
  const next = chance(seed);
  const points = [];
  for (let at = 0; at <= minutes * MINUTE; at += 10_000 + next() * 30_000) points.push({ at, value: value(at, next) });
  return points;
}

const of = (points) => direction(slopeOf(points), points[0].value, 5);
const counted = (value) => {
  const counts = { '-1': 0, 0: 0, 1: 0 };
  for (let seed = 1; seed <= SEEDS; seed += 1) counts[of(series(seed, value(seed)))] += 1;
  return counts;
};
const tooth = (at, period, phase = 0) => ((at / period + phase) % 1 + 1) % 1;

test('noise goes nowhere', () => {
  assert.equal(counted(() => (_, next) => 1_000 + next() * 400)[0], SEEDS);
});

test('a saw-tooth goes nowhere, however long its teeth', () => {
  for (const period of [0.2, 1, 3, 7, 12, 20]) {
    const found = counted((seed) => (at, next) => 1_000 + 800 * tooth(at, period * MINUTE, chance(seed)()) + next() * 50);
    assert.equal(found[0], SEEDS, `teeth of ${period} minutes: ${JSON.stringify(found)}`);
  }
});

test('a step is not a leak', () => {
  for (const where of [0.1, 0.4, 0.5, 0.6, 0.9]) {
    const found = counted(() => (at) => (at < where * 30 * MINUTE ? 1_000 : 1_500));
    assert.equal(found[0], SEEDS, `at ${where}`);
  }
});

test('a leak is found under noise and under a saw-tooth, and its slope is within the bounds', () => {
  const leak = (at, perHour) => (perHour * at) / (60 * MINUTE);
  for (const [perHour, value] of [
    [600, (at, next) => 1_000 + leak(at, 600) + next() * 50],
    [600, (at, next) => 1_000 + leak(at, 600) + 300 * tooth(at, 3 * MINUTE) + next() * 20],
    [2_400, (at, next) => 1_000 + leak(at, 2_400) + 800 * tooth(at, 0.5 * MINUTE) + next() * 50],
  ]) {
    let within = 0;
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const points = series(seed, value);
      const slope = slopeOf(points);
      assert.equal(of(points), 1, `seed ${seed}: ${JSON.stringify(slope)}`);
      assert.ok(slope.low <= slope.perHour && slope.perHour <= slope.high);
      within += slope.low <= perHour && perHour <= slope.high ? 1 : 0;
    }
    assert.ok(within >= 0.98 * SEEDS, `${within} of ${SEEDS}`);
  }
  const falls = counted(() => (at, next) => 2_000 - leak(at, 600) + next() * 50);
  assert.equal(falls[-1], SEEDS);
});

test('a leak too small to matter, too few samples and too short a time are no alarm', () => {
  assert.equal(counted(() => (at) => 10_000 + (100 * at) / (30 * MINUTE))[0], SEEDS);
  assert.equal(slopeOf([]), null);
  assert.equal(slopeOf([{ at: 0, value: 1 }, { at: 9 * MINUTE, value: 100 }]), null);
  assert.equal(slopeOf(series(1, (at) => at, 4)), null);
  assert.equal(slopeOf(Array.from({ length: 50 }, () => ({ at: 7, value: 7 }))), null);
});
