// Latin digits whatever the locale: a kitchen reads the clock and the tickets as one set of figures.
const clock = new Intl.DateTimeFormat('en-GB', {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
  numberingSystem: 'latn',
});

/** A time of day as `14:32:07`. */
export function clockText(ms: number): string {
  return clock.format(ms);
}

/**
 * The relay's clock as this page knows it. Kitchen tablets are often minutes off, and a ticket must not be born
 * late because of that. HTTP `Date` has whole seconds, so small differences are left alone.
 */
export class RelayClock {
  #offsetMs = 0;

  observe(dateHeader: string | null, localMs: number): void {
    const served = dateHeader === null ? Number.NaN : Date.parse(dateHeader);
    if (Number.isNaN(served)) return;
    const offset = served + 500 - localMs;
    this.#offsetMs = Math.abs(offset) > 2_000 ? offset : 0;
  }

  now(localMs: number = Date.now()): number {
    return localMs + this.#offsetMs;
  }
}
