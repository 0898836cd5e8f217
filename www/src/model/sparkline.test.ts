import { expect, it } from 'vitest';
import { durationText, niceCeiling, Samples, sparklinePoints } from './sparkline';

it('keeps the newest samples only', () => {
  const samples = new Samples(3);
  for (const value of [1, 2, 3, 4]) samples.push(value);
  expect(samples.values()).toEqual([2, 3, 4]);
  expect(samples.last).toBe(4);
  expect(new Samples(3).last).toBeNull();
});

it('rounds the scale up to 1, 2 or 5', () => {
  expect([[], [3], [7], [12], [40], [101]].map((values) => niceCeiling(values, 5))).toEqual([5, 5, 10, 20, 50, 200]);
});

it('draws from the right edge, zero at the bottom, clipped at the top', () => {
  expect(sparklinePoints([0, 5, 99], 5, 100, 22, 10)).toBe('50,21 75,11 100,1');
  expect(sparklinePoints([], 5, 100, 22, 10)).toBe('');
});

it('says durations shortly', () => {
  expect([0.42, 9.94, 12.4, 999, 1_340].map(durationText)).toEqual(['0.4 ms', '9.9 ms', '12 ms', '999 ms', '1.3 s']);
});
