// What a page downloads: within the budgets, and what the README says of it is so.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { lines, overBudget, parts } from '../../scripts/lib/size.mjs';

const found = await parts();
const brotli = (entry) => found.find(({ name, part }) => name === entry && part === 'together').bytes.brotli;

test('each entry is within its budget', () => {
  console.log(lines(found).join('\n'));
  assert.deepEqual(overBudget(found), []);
});

test('the README says what tautline/inline costs', () => {
  const readme = readFileSync(new URL('../../pkg/README.md', import.meta.url), 'utf8');
  const said = readme.match(/in base64: (\d+) KB to download as brotli sends it, where `tautline` is (\d+)\./);
  for (const [n, entry] of ['tautline/inline', 'tautline'].entries()) {
    const kilobytes = brotli(entry) / 1000;
    assert.ok(Math.abs(Number(said[n + 1]) - kilobytes) <= kilobytes / 20, `${entry} weighs ${kilobytes.toFixed(0)} KB`);
  }
});
