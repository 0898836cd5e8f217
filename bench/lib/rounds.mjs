// Several short runs of each contender in turn, so that what else the machine does hits all of them alike.

/** The middle of some numbers. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The value at a share of sorted numbers: `quantile(times, 0.99)`. */
export function quantile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** `{median, min, max, rounds}`. */
export function spread(numbers) {
  return { median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers), rounds: numbers.length };
}

/**
 * Measures each contender once a round, in turn: A B C A B C. Each round begins with another one, or the first
 * would always meet the machine as the last left it.
 * @template T
 * @param {Record<string, () => Promise<T>>} contenders
 * @param {number} rounds
 * @param {(name: string, round: number, measured: T) => void} [told] after each
 * @returns {Promise<Record<string, T[]>>} what each measured, a round an entry
 */
export async function alternate(contenders, rounds, told) {
  const names = Object.keys(contenders);
  const measured = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length];
      const one = await contenders[name]();
      measured[name].push(one);
      told?.(name, round, one);
    }
  }
  return measured;
}

/** One figure of one contender over its rounds. */
export const figure = (measured, name, key) => spread(measured[name].map((one) => one[key]));

/** How many times `name`'s figure is `than`'s, round by round: a ratio of neighbours, not of medians. */
export function ratio(measured, key, name, than) {
  return spread(measured[name].map((one, round) => one[key] / measured[than][round][key]));
}
