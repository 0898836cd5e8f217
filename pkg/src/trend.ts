// Which way a series of measurements goes, told from noise and from a saw-tooth: memory rises until the collector comes
// and falls then, and only its floor says whether something is kept. The floors of equal spans of time are taken, the
// median of the slopes between all pairs of them (Theil and Sen) is how steeply they rise, and Kendall's rank test how
// sure that is. No average of first and last, which two samples decide.

import type { MemorySlope } from './types.js';

/** A measurement. */
export interface Point {
  /** ms. */
  readonly at: number;
  readonly value: number;
}

/** Spans of time whose floors are compared. */
const SPANS = 24;
/** Fewer floors, or a shorter time, say nothing. */
const LEAST_FLOORS = 8;
const LEAST_MS = 5 * 60_000;
/** Standard deviations of a confidence of 99.9 %: it is asked again and again, and may not cry wolf. */
const SURE = 3.291;
/** What the rise has to come to, of the level it began from, to be called one. */
const SHARE = 0.1;
const HOUR_MS = 3_600_000;

/** The slope of a series in order of time; `null` where there is too little to tell. */
export function slopeOf(points: readonly Point[]): MemorySlope | null {
  const [first, last] = [points[0], points.at(-1)];
  if (first === undefined || last === undefined) return null;
  const spanMs = last.at - first.at;
  const low = floors(points, first.at, spanMs);
  if (spanMs < LEAST_MS || low.length < LEAST_FLOORS) return null;
  const slopes: number[] = [];
  for (const [n, one] of low.entries()) {
    for (const other of low.slice(n + 1)) slopes.push(((other.value - one.value) / (other.at - one.at)) * HOUR_MS);
  }
  slopes.sort((a, b) => a - b);
  const half = (SURE * Math.sqrt(variance(low.map(({ value }) => value)))) / 2;
  const middle = (slopes.length - 1) / 2;
  return { perHour: quantile(slopes, middle), low: quantile(slopes, middle - half), high: quantile(slopes, middle + half), samples: points.length, spanMs };
}

/** Whether that is a rise, or a fall, worth the name: surely one, and not a small part of what there is. */
export function direction(slope: MemorySlope | null, level: number, least: number): -1 | 0 | 1 {
  if (slope === null) return 0;
  const enough = Math.max(least, level * SHARE) * (HOUR_MS / slope.spanMs);
  if (slope.low > 0 && slope.perHour >= enough) return 1;
  return slope.high < 0 && -slope.perHour >= enough ? -1 : 0;
}

/** The lowest of each span. */
function floors(points: readonly Point[], from: number, spanMs: number): readonly Point[] {
  const lowest = new Map<number, Point>();
  for (const point of points) {
    const span = spanMs === 0 ? 0 : Math.min(SPANS - 1, Math.floor(((point.at - from) / spanMs) * SPANS));
    const other = lowest.get(span);
    if (other === undefined || point.value < other.value) lowest.set(span, point);
  }
  return [...lowest.values()];
}

/** Of Kendall's S where nothing goes anywhere, with its correction for values that are equal. */
function variance(values: readonly number[]): number {
  const of = (n: number) => n * (n - 1) * (2 * n + 5);
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const ties = [...counts.values()].reduce((sum, n) => sum + of(n), 0);
  return (of(values.length) - ties) / 18;
}

/** The value at a place between two of a sorted list; past its ends, the outermost. */
function quantile(sorted: readonly number[], at: number): number {
  const within = Math.min(sorted.length - 1, Math.max(0, at));
  const below = sorted[Math.floor(within)] ?? 0;
  const above = sorted[Math.ceil(within)] ?? 0;
  return below + (above - below) * (within - Math.floor(within));
}
