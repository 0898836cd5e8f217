// What every test of a recording needs: the files, what two frames have in common, and names that stand for others.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';

export const DIALECTS = ['tautline.v1', 'plain'];

/** Every version recorded, oldest first. */
export function recordings() {
  const names = readdirSync(new URL('.', import.meta.url)).filter((name) => /^\d+\.\d+\.json$/.test(name));
  assert.ok(names.length > 0, 'a version is recorded');
  return names.sort((a, b) => a.localeCompare(b, 'en', { numeric: true })).map((name) => JSON.parse(readFileSync(new URL(name, import.meta.url), 'utf8')));
}

/** A version's client ends a connection with these; the relay with any other. */
export const byClient = (code) => code === 1000 || (code >= 4100 && code <= 4103);

const kind = (value) => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value);

/** Values that each run makes anew; what one stands for in the recording is found by its place. */
const MADE = new Set(['id', 'order_id', 'orderId', 'item_id', 'itemId', 'epoch']);

/** Names of the recording, and what they are called this time. */
export class Names {
  #actual = new Map();

  /**
   * A frame has everything that the recorded one had, each of the same type (more is allowed: unknown fields are
   * ignored), and its states are the same; learns the names on the way.
   */
  match(recorded, actual, where) {
    // `null` is "nothing to say": whoever read that can read any.
    if (recorded === null) return;
    assert.equal(kind(actual), kind(recorded), `${where} is ${JSON.stringify(actual)}, was ${JSON.stringify(recorded)}`);
    if (Array.isArray(recorded)) {
      assert.equal(actual.length, recorded.length, `${where}: as many`);
      recorded.forEach((value, index) => {
        // A snapshot's orders come in no order that anybody promised.
        const number = value?.order_number;
        const other = number === undefined ? actual[index] : actual.find((one) => one.order_number === number);
        this.match(value, other, `${where}[${index}]`);
      });
      return;
    }
    if (typeof recorded !== 'object') {
      const key = where.split('.').at(-1);
      if (MADE.has(key)) this.learn(recorded, actual, where);
      if (['type', 'status', 'previous_status', 'previousStatus', 'code', 'outcome', 'resumed', 'renewal', 'protocol', 'role', 'order_number'].includes(key)) {
        assert.equal(actual, recorded, where);
      }
      return;
    }
    for (const [key, value] of Object.entries(recorded)) {
      assert.ok(key in actual, `${where}.${key} is missing; it was ${JSON.stringify(value)}`);
      this.match(value, actual[key], `${where}.${key}`);
    }
  }

  learn(recorded, actual, where) {
    const known = this.#actual.get(recorded);
    if (known !== undefined) assert.equal(actual, known, `${where}: one thing, one name`);
    this.#actual.set(recorded, actual);
  }

  /** What a recorded name is called this time. */
  of(recorded) {
    return this.#actual.get(recorded) ?? recorded;
  }

  /** A recorded value with this run's names. */
  apply(value) {
    if (typeof value === 'string') return this.of(value);
    if (Array.isArray(value)) return value.map((one) => this.apply(one));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, this.apply(one)]));
  }
}
