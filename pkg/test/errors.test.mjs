// The unions of the layer and of the protocol crate are one list.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FILTER_LIMITS } from '../dist/filter.js';
import { ERROR_CODES, NACK_CODES, OUTCOMES, STAGES, TautlineError } from '../dist/errors.js';

const rust = readFileSync(new URL('../../crates/protocol/src/code.rs', import.meta.url), 'utf8');

/** `Variant = "name"` pairs of one enum of the protocol crate. */
function rustEnum(name) {
  const body = rust.match(new RegExp(`\\n\\s*${name} \\{([^}]*)\\}`))?.[1];
  assert.ok(body, `${name} is in code.rs`);
  return [...body.matchAll(/(\w+)\s*=\s*"([^"]+)"/g)].map(([, variant, text]) => ({ variant, text }));
}

for (const [name, ours] of [['ErrorCode', ERROR_CODES], ['NackCode', NACK_CODES], ['Outcome', OUTCOMES], ['Stage', STAGES]]) {
  test(`${name} is the protocol crate's`, () => {
    assert.deepEqual([...ours], rustEnum(name).map(({ text }) => text));
  });
}

test('a filter\'s bounds are the protocol crate\'s', () => {
  const limits = readFileSync(new URL('../../crates/protocol/src/limits.rs', import.meta.url), 'utf8');
  const bound = (name) => Number(limits.match(new RegExp(`pub const ${name}: usize = (\\d+);`))[1]);
  assert.deepEqual(FILTER_LIMITS, { patterns: bound('FILTER_PATTERNS'), characters: bound('FILTER_PATTERN_CHARS'), values: bound('FILTER_VALUES') });
});

test('retryable is what the protocol crate says', () => {
  const of = rust.slice(rust.indexOf('impl ErrorCode'));
  const variants = [...of.match(/fn retryable[\s\S]*?\n    \}/)[0].matchAll(/Self::(\w+)/g)].map(([, variant]) => variant);
  assert.ok(variants.length > 0);
  for (const { variant, text } of rustEnum('ErrorCode')) {
    assert.equal(new TautlineError(text, '').retryable, variants.includes(variant), text);
  }
});

test('an error carries what applies and nothing else', () => {
  const cause = new Error('why');
  const error = new TautlineError('nack', 'refused', { cause, nackCode: 'conflict', outcome: 'not_applied', retryable: true, retryAfterMs: 5 });
  assert.ok(error instanceof Error);
  assert.equal(error.name, 'TautlineError');
  assert.equal(error.cause, cause);
  assert.deepEqual({ ...error }, { code: 'nack', name: 'TautlineError', retryable: true, outcome: 'not_applied', nackCode: 'conflict', retryAfterMs: 5 });
  assert.equal(new TautlineError('aborted', '').name, 'AbortError');
  assert.ok(!('cause' in new TautlineError('nack', '')));
  assert.deepEqual(Object.keys(new TautlineError('nack', '', { stage: undefined })), ['code', 'retryable', 'name']);
});
