import { expect, it } from 'vitest';
import { meterOf, nextMeter } from './voice-level';

it('fills a meter by what an ear would say, within its ends', () => {
  expect(meterOf(0)).toBe(0);
  expect(meterOf(Number.NaN)).toBe(0);
  expect(meterOf(1)).toBe(1);
  expect(meterOf(3)).toBe(1);
  expect(meterOf(0.0001)).toBe(0);
  // Half the amplitude is a ninth of this meter, wherever it begins.
  expect(meterOf(0.5)).toBeCloseTo(1 - 6.02 / 54, 2);
  expect(meterOf(0.25) - meterOf(0.125)).toBeCloseTo(meterOf(0.5) - meterOf(0.25), 6);
});

it('rises at once and falls slowly', () => {
  expect(nextMeter(0.1, 0.9, false)).toBe(0.9);
  expect(nextMeter(0.9, 0, false)).toBeCloseTo(0.82);
  expect(nextMeter(0.05, 0, false)).toBe(0);
});

it('has a few places and no glide for those who asked for less motion', () => {
  expect(nextMeter(1, 0.05, true)).toBe(0);
  expect(nextMeter(0, 0.55, true)).toBe(0.5);
});
