/** A fixed window of samples, oldest dropped first. */
export class Samples {
  readonly #values: number[] = [];

  constructor(readonly capacity: number) {}

  push(value: number): void {
    this.#values.push(value);
    if (this.#values.length > this.capacity) this.#values.shift();
  }

  values(): readonly number[] {
    return this.#values;
  }

  get last(): number | null {
    return this.#values.at(-1) ?? null;
  }
}

/** A round number at or above the largest sample, so that the line does not rescale at every tick. */
export function niceCeiling(values: readonly number[], floor: number): number {
  const top = Math.max(floor, ...values);
  const power = 10 ** Math.floor(Math.log10(top));
  for (const step of [1, 2, 5, 10]) if (step * power >= top) return step * power;
  return 10 * power;
}

/** An SVG `points` list: newest at the right edge, zero at the bottom, one pixel kept free for the stroke. */
export function sparklinePoints(values: readonly number[], capacity: number, width: number, height: number, ceiling: number): string {
  const step = width / Math.max(1, capacity - 1);
  const first = width - step * (values.length - 1);
  return values
    .map((value, index) => {
      const level = Math.min(1, Math.max(0, value / ceiling));
      return `${round(first + step * index)},${round(1 + (height - 2) * (1 - level))}`;
    })
    .join(' ');
}

/** Milliseconds for people: `0.4 ms`, `12 ms`, `1.3 s`. */
export function durationText(ms: number): string {
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
