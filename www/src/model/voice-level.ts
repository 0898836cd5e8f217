/** Below this a room is quiet, at 0 dB a microphone is at its limit: the two ends of a meter. */
const QUIET_DB = -54;
/** How far a meter falls a step: it rises at once and lets go slowly, as meters of sound do. */
const FALL = 0.08;
/** A meter that may not move smoothly has this many places. */
const PLACES = 4;

/** A level of sound (0 to 1, as amplitude) as the part of a meter it fills: loudness is heard in decibels. */
export function meterOf(amplitude: number): number {
  if (!(amplitude > 0)) return 0;
  const decibels = 20 * Math.log10(Math.min(1, amplitude));
  return Math.max(0, 1 - decibels / QUIET_DB);
}

/** Where a meter goes next from `shown` when `wanted` is what is heard. */
export function nextMeter(shown: number, wanted: number, still: boolean): number {
  const next = Math.max(wanted, shown - FALL);
  return still ? Math.round(wanted * PLACES) / PLACES : next;
}
