/** How urgent a ticket is: the colour of its band, and a word for those who do not see colour. */
export type AgeLevel = 'fresh' | 'warm' | 'late';

export interface AgeLimits {
  /** Minutes after which a ticket turns amber. */
  readonly warm: number;
  /** Minutes after which it turns red. */
  readonly late: number;
}

export const DEFAULT_LIMITS: AgeLimits = { warm: 5, late: 10 };

/** Whole minutes since an order was made (0 = it does not say); never negative, whatever the two clocks say. */
export function ageMinutes(madeMs: number, nowMs: number): number {
  return madeMs === 0 ? 0 : Math.max(0, Math.floor((nowMs - madeMs) / 60_000));
}

export function ageLevel(minutes: number, limits: AgeLimits): AgeLevel {
  if (minutes >= limits.late) return 'late';
  return minutes >= limits.warm ? 'warm' : 'fresh';
}

/** An age as a number and its unit, to be set in two sizes: `7` `min`, `1:04` `h`. */
export function ageText(minutes: number): { readonly value: string; readonly unit: string } {
  if (minutes < 60) return { value: String(minutes), unit: 'min' };
  const hours = Math.floor(minutes / 60);
  if (hours >= 100) return { value: '99+', unit: 'h' };
  return { value: `${hours}:${String(minutes % 60).padStart(2, '0')}`, unit: 'h' };
}

/** Limits a person typed: whole minutes, red after amber. */
export function sanitizeLimits(warm: number, late: number): AgeLimits {
  const whole = (value: number, fallback: number) =>
    Number.isFinite(value) ? Math.min(240, Math.max(1, Math.round(value))) : fallback;
  const first = whole(warm, DEFAULT_LIMITS.warm);
  return { warm: first, late: Math.max(first + 1, whole(late, DEFAULT_LIMITS.late)) };
}
