// What the guides say holds: each snippet compiles as a user's file would, and each code is explained.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERROR_CODES, NACK_CODES } from '../dist/errors.js';
import { problems } from './snippets.mjs';

const guides = new URL('../../docs/guide/', import.meta.url);
const guide = (name) => readFileSync(new URL(name, guides), 'utf8');

for (const name of readdirSync(guides)) {
  test(`the snippets of ${name} compile`, () => {
    const { count, problems: said } = problems(name, guide(name));
    assert.deepEqual(said, []);
    assert.equal(count > 0, guide(name).includes('import '), 'they were found');
  });
}

test('every code has its line in the troubleshooting guide', () => {
  const rows = guide('troubleshooting.md').split('\n').filter((line) => line.startsWith('| `'));
  const explained = rows.flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, code]) => code));
  assert.deepEqual([...ERROR_CODES, ...NACK_CODES].filter((code) => !explained.includes(code)), []);
});
