// `npm start`: one clear sentence when it cannot, seconds when it can, nothing left when it ends.

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@playwright/test';
import { openDisplay, ticket } from './harness/index.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));

let dataDir;
const started = [];
test.beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'tautline-start-'));
});
test.afterEach(async () => {
  for (const run of started.splice(0)) {
    run.signal('SIGINT');
    await run.ended;
  }
  await rm(dataDir, { recursive: true, force: true });
});

/** `npm start` as a terminal runs it: a process group of its own, which Ctrl-C reaches as a whole. */
function npmStart(env = {}) {
  const mark = randomUUID();
  const child = spawn('npm', ['start'], {
    cwd: root, detached: true, stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PORT: '0', TAUTLINE_DATA_DIR: dataDir, TAUTLINE_TEST_MARK: mark, ...env },
  });
  const run = { out: '', err: '', code: undefined };
  child.stdout.on('data', (chunk) => (run.out += chunk));
  child.stderr.on('data', (chunk) => (run.err += chunk));
  run.ended = new Promise((resolve) => child.once('close', (code, signal) => resolve((run.code = code ?? signal))));
  run.signal = (signal) => {
    if (run.code === undefined) process.kill(-child.pid, signal);
  };
  /** Everything it started that still lives. */
  run.left = async () => {
    const ids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const environments = await Promise.all(ids.map((id) => readFile(`/proc/${id}/environ`, 'latin1').catch(() => '')));
    return ids.filter((_, index) => environments[index].includes(`TAUTLINE_TEST_MARK=${mark}`));
  };
  run.url = async () => {
    const address = () => run.out.match(/The kitchen display: (http:\/\/127\.0\.0\.1:\d+)/)?.[1];
    await expect.poll(() => address() ?? run.code, { timeout: 45_000, message: 'npm start prints the URL' }).toBeTruthy();
    expect(address(), run.out + run.err).toBeTruthy();
    return address();
  };
  started.push(run);
  return run;
}

test('a second start takes seconds, survives a restart of the relay, and Ctrl-C ends everything', async ({ page }) => {
  const began = Date.now();
  const run = npmStart();
  const url = await run.url();
  expect(Date.now() - began).toBeLessThan(20_000); // everything is built: this suite runs on it

  // The two lines that it tells a visitor to paste, but for the shell.
  const { token } = await (await fetch(`${url}/dev/token?restaurant_id=demo&role=server`)).json();
  const post = () => fetch(`${url}/api/v1/restaurants/demo/orders`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: run.out.match(/-d '(.*)'/)[1],
  });
  await openDisplay(page, url);
  const answer = await post();
  expect(answer.status).toBe(201);
  await expect(ticket(page, (await answer.json()).id)).toHaveCount(1);

  expect((await fetch(`${url}/dev/trouble`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"kind":"restart"}' })).status).toBe(202);
  await expect.poll(() => run.out, { timeout: 20_000 }).toContain('The relay asked to be started again');
  await expect.poll(async () => (await post().catch(() => undefined))?.status, { timeout: 20_000 }).toBe(201);
  await expect(ticket(page)).toHaveCount(2, { timeout: 15_000 });

  run.signal('SIGINT');
  expect(await run.ended).toBe(0);
  expect(await run.left()).toEqual([]);
  await expect(fetch(`${url}/healthz`)).rejects.toThrow();
});

test('npm killed outright takes everything with it', async () => {
  const run = npmStart();
  const url = await run.url();
  const [npm] = await run.left();
  process.kill(Number(npm), 'SIGKILL');
  await expect.poll(run.left, { timeout: 20_000 }).toEqual([]);
  await expect(fetch(`${url}/healthz`)).rejects.toThrow();
});

test('a busy port is one clear sentence and not exit code 0', async () => {
  const taken = createServer();
  await new Promise((resolve) => taken.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = taken.address();
    const run = npmStart({ PORT: String(port) });
    expect(await run.ended).not.toBe(0);
    expect(run.err.split('\n').filter((line) => line.includes(`Port ${port} is in use`))).toHaveLength(1);
    expect(run.err).not.toMatch(/^\s+at /m);
    expect(await run.left()).toEqual([]);
  } finally {
    await new Promise((resolve) => taken.close(resolve));
  }
});

test('no port number at all is said too', async () => {
  const run = npmStart({ PORT: 'eighty' });
  expect(await run.ended).not.toBe(0);
  expect(run.err).toContain('PORT is "eighty"');
});

test('a second relay on the same data says whose it is', async () => {
  const first = npmStart();
  await first.url();
  const second = npmStart();
  expect(await second.ended).not.toBe(0);
  expect(second.out + second.err).toMatch(/\b(pid|process) \d+/);
  expect(await second.left()).toEqual([]);
});
