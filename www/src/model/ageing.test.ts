import { describe, expect, it } from 'vitest';
import { ageLevel, ageMinutes, ageText, DEFAULT_LIMITS, sanitizeLimits } from './ageing';

const noon = Date.parse('2026-01-01T12:00:00Z');
const at = (minutes: number) => noon + minutes * 60_000;

describe('ageMinutes', () => {
  it('counts whole minutes, and none before the order was made or without a time', () => {
    expect(ageMinutes(noon, at(4.99))).toBe(4);
    expect(ageMinutes(noon, at(-3))).toBe(0);
    expect(ageMinutes(0, at(1))).toBe(0);
  });
});

describe('ageLevel', () => {
  it('turns at its limits', () => {
    expect([4, 5, 9, 10].map((minutes) => ageLevel(minutes, DEFAULT_LIMITS))).toEqual(['fresh', 'warm', 'warm', 'late']);
  });
});

describe('ageText', () => {
  it('goes over to hours', () => {
    expect([0, 59, 60, 64, 6_100].map((minutes) => Object.values(ageText(minutes)).join(' '))).toEqual(['0 min', '59 min', '1:00 h', '1:04 h', '99+ h']);
  });
});

describe('sanitizeLimits', () => {
  it('keeps red after amber and both within reason', () => {
    expect(sanitizeLimits(8, 8)).toEqual({ warm: 8, late: 9 });
    expect(sanitizeLimits(Number.NaN, Number.NaN)).toEqual(DEFAULT_LIMITS);
    expect(sanitizeLimits(-4, 9_999)).toEqual({ warm: 1, late: 240 });
  });
});
