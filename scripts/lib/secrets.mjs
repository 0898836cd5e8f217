// A look at every log that the relays of a test run left, at their most verbose: no secret may be in one.

import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { PLANTED, SAID } from '../../tests/e2e/harness/planted.mjs';

const quoted = (text) => new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));

/** What must not be there, with a line that has it: a pattern that finds nothing proves nothing. */
function patterns(folder) {
  const known = [
    ['a token', /eyJ[\w-]{6,}/, '{"x":"eyJhbGciOiJIUzI1NiJ9.e30.c2ln"}'],
    ['an Authorization header', /bearer[ :=]/i, 'authorization: Bearer abc'],
    ...Object.entries(PLANTED).map(([field, text]) => [field, quoted(text), `{"x":"${text}"}`]),
    ['something said in a call', quoted(SAID), `{"text":"${SAID}"}`],
    ["a session's secret", /\bek_[\w-]{16,}/, 'ek_0123456789abcdef'],
    ['an SDP credential', /ice-(pwd|ufrag):|\bpwd\W+[\w+/]{22,}/, 'a=ice-pwd:asd88fgpdd777uzjYhagZg'],
    // What single specs say of their guests.
    ["a spec's guest", /Zebulon|55501\d\d|allergic/, 'Zebulon'],
  ];
  const file = join(folder, 'secrets.txt');
  const keys = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  for (const hex of new Set(keys)) {
    const bytes = Buffer.from(hex, 'hex');
    // However it may be written: hexadecimal, base64 of either alphabet, Rust's list of numbers.
    const forms = [hex, bytes.toString('base64').slice(0, 24), bytes.toString('base64url').slice(0, 24), [...bytes.subarray(0, 8)].join(', ')];
    for (const form of forms) known.push(["a relay's key", quoted(form), form]);
  }
  return { known, keys: keys.length };
}

/** Lines that prove a log was as verbose as it gets, and that calls are in it. */
const PROOF = ['frame in', 'frame out', 'turn out', 'token checked', 'attached', 'ready', 'request', 'voice session begins'];

/** A row of the closing table. */
export async function secretsInLogs(folder) {
  const row = { name: 'secrets in logs', passed: 0, failed: 0, skipped: 0 };
  const began = Date.now();
  const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.jsonl')) : [];
  const { known, keys } = patterns(folder);
  const blind = known.find(([, pattern, sample]) => !pattern.test(sample));
  const seen = new Set();
  let bytes = 0;
  for (const name of files) {
    const path = join(folder, name);
    bytes += statSync(path).size;
    let found = 0;
    let number = 0;
    for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      number += 1;
      const message = /"message":"([^"]*)"/.exec(line)?.[1];
      if (message) seen.add(message);
      for (const [what, pattern] of known) {
        if (!pattern.test(line)) continue;
        found += 1;
        // Not the line itself: it would only move the secret into another log.
        if (found <= 5) console.error(`${path}:${number}: ${what} is in the log (message "${message}")`);
      }
    }
    row[found ? 'failed' : 'passed'] += 1;
  }
  row.name = `secrets in logs (${(bytes / 1e6).toFixed(0)} MB)`;
  row.seconds = (Date.now() - began) / 1000;
  const missing = PROOF.filter((message) => !seen.has(message));
  if (row.failed) row.problem = `${row.failed} logs with secrets`;
  else if (blind) row.problem = `the pattern for ${blind[0]} finds nothing`;
  else if (files.length === 0) row.problem = 'no log';
  else if (missing.length) row.problem = `not verbose: no "${missing.join('", "')}"`;
  else if (keys === 0) row.problem = 'no key to look for';
  return row;
}
