import { expect, it } from 'vitest';
import { clockText, RelayClock } from './clock';

it('writes the time of day with Latin digits', () => {
  expect(clockText(new Date(2026, 0, 1, 4, 5, 9).getTime())).toBe('04:05:09');
});

it('goes by the relay’s clock when the device is off, and by its own for a second or two', () => {
  const local = Date.parse('2026-01-01T12:00:00Z');
  const clock = new RelayClock();
  clock.observe('Thu, 01 Jan 2026 12:05:00 GMT', local);
  expect(clock.now(local)).toBe(local + 300_500);
  clock.observe('Thu, 01 Jan 2026 12:00:01 GMT', local);
  expect(clock.now(local)).toBe(local);
  clock.observe(null, local);
  clock.observe('soon', local);
  expect(clock.now(local)).toBe(local);
});
