// Servers under test, each on one core: ours and the ones it is compared with.

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, output, start, step, stop } from '../../scripts/lib/run.mjs';
import { targetDir } from '../../scripts/lib/build.mjs';
import { benchDir } from './bench.mjs';

/** The core of the server, and the one of everything else. */
export const SERVER_CORE = '0';
export const LOAD_CORE = '1';

const READY_MS = 30_000;
const bun = join(benchDir, 'node_modules/@oven/bun-linux-x64/bin/bun');

/** A child on the server's core, once it says where it listens. */
async function serve(command, args, options = {}) {
  const child = start('taskset', ['-c', SERVER_CORE, command, ...args], options);
  let said = '';
  let timer;
  const port = await Promise.race([
    new Promise((resolve) => {
      child.stderr.on('data', (chunk) => (said += chunk));
      child.stdout.on('data', (chunk) => {
        said += chunk;
        const found = said.match(/listening on http:\/\/127\.0\.0\.1:(\d+)/);
        if (found) resolve(Number(found[1]));
      });
    }),
    child.ended,
    new Promise((resolve) => (timer = setTimeout(resolve, READY_MS))),
  ]);
  clearTimeout(timer);
  if (typeof port !== 'number') {
    await stop(child);
    throw new Failure(`${command} does not listen:\n${said}`);
  }
  return {
    pid: child.pid,
    port,
    address: `127.0.0.1:${port}`,
    stop: () => stop(child),
    /** Ends it with a signal and waits for it. */
    async end(signal) {
      process.kill(child.pid, signal);
      await child.ended;
    },
  };
}

export const startBun = () => serve(bun, [join(benchDir, 'peers/bun.js')]);
export const startWs = () => serve(process.execPath, [join(benchDir, 'peers/ws.mjs')]);

/** A folder for a store, on a disk: /tmp may be memory, where a sync costs nothing. */
export const storeFolder = async () => mkdtempSync(join(await targetDir(), 'bench-'));

/**
 * Our relay as it is deployed: a database in a file, every commit synced, tokens checked.
 * With a `dataDir` of the caller's, which is kept, and a `port` it can be started where one was before.
 */
export async function startRelay(program, { dialect = 'plain', port = 0, dataDir: kept, role = 'kitchen', args = [] } = {}) {
  const dataDir = kept ?? (await storeFolder());
  const server = await serve(program, ['serve', '--dev', '--listen', `127.0.0.1:${port}`, '--data-dir', dataDir, ...args]);
  const token = async (role) => {
    const answer = await fetch(`http://${server.address}/dev/token?restaurant_id=bench&role=${role}`);
    if (!answer.ok) throw new Failure(`/dev/token answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()).token;
  };
  return {
    ...server,
    relay: { restaurant: 'bench', token: await token(role), service: await token('service'), v1: dialect === 'v1' },
    async stop() {
      await server.stop();
      if (!kept) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}

/** The versions of what is compared with. */
export const versions = async () => [`Bun ${await output(bun, ['--version'])}`];

let program;
/** Builds `tautline-load`. */
export async function buildLoad() {
  await step({
    what: 'Building the load', usual: '30 s the first time', log: 'load', when: /Compiling/, tail: 40,
    command: 'cargo', args: ['build', '--release', '-p', 'tautline-load'],
  });
  program = join(await targetDir(), 'release/tautline-load');
}

/** Runs `tautline-load` on its core and gives what it says, a line at a time. */
export async function load(plan, { onLine } = {}) {
  program ??= join(await targetDir(), 'release/tautline-load');
  const child = start('taskset', ['-c', LOAD_CORE, program, JSON.stringify(plan)]);
  const lines = [];
  let rest = '';
  let said = '';
  child.stderr.on('data', (chunk) => (said += chunk));
  child.stdout.on('data', (chunk) => {
    rest += chunk;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      const line = JSON.parse(rest.slice(0, end));
      rest = rest.slice(end + 1);
      lines.push(line);
      onLine?.(line);
    }
  });
  const { code, signal, error } = await child.ended;
  if (code !== 0) throw new Failure(said.trim() || `the load ended with ${error?.message ?? signal ?? code}`);
  return lines;
}
