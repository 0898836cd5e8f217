// A real relay for a test: its own port, its own data folder, and the ways it can be ended.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PLANTED } from './planted.mjs';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const READY_MS = 30_000;
const RESTART = 75;
/** Where every relay leaves its most verbose log, for a last look at all of them (`scripts/lib/secrets.mjs`). */
const logFolder = process.env.TAUTLINE_RELAY_LOGS ?? join(root, 'test-results/relay-logs');
let started = 0;

const alive = new Set();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

/** @typedef {Awaited<ReturnType<typeof startRelay>>} Relay */

/**
 * Starts `tautline-relay serve --dev` and waits until it listens. With a certificate among `args`, NODE_EXTRA_CA_CERTS has to name it.
 * @param {{ dataDir?: string, port?: number, www?: string | null, args?: string[], env?: Record<string, string>, program?: string }} [options]
 *   `dataDir`: kept afterwards when given, a temporary folder otherwise. `www`: `null` serves no page.
 */
export async function startRelay(options = {}) {
  const program = options.program ?? process.env.TAUTLINE_RELAY_PROGRAM ?? join(root, 'target/release/tautline-relay');
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'tautline-')));
  const www = options.www === undefined ? join(root, 'www/dist') : options.www;
  let child;
  let port = options.port ?? 0;
  let scheme = 'http';
  mkdirSync(logFolder, { recursive: true });
  started += 1;
  const logFile = join(logFolder, `${process.pid}-${started}.jsonl`);
  const logs = () => readFileSync(logFile, 'utf8');
  const secrets = join(logFolder, 'secrets.txt');
  let stopping = false;
  const tokens = new Map();

  async function launch() {
    tokens.clear(); // in memory the relay's secret is a new one
    const verbose = ['--log', 'json', '--log-level', 'trace'];
    const args = ['serve', '--dev', ...verbose, '--listen', `127.0.0.1:${port}`, '--data-dir', dataDir, ...(www ? ['--www', www] : []), ...(options.args ?? [])];
    // Straight into the file: a log of this size must not pass through this process.
    const log = openSync(logFile, 'a');
    const next = spawn(program, args, { cwd: root, env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', log] });
    closeSync(log);
    alive.add(next);
    next.ended = new Promise((resolve) => {
      next.once('error', (error) => resolve(`could not be started: ${error.message}`));
      next.once('exit', (code, signal) => resolve(code ?? signal));
    });
    next.ended.then((how) => {
      alive.delete(next);
      if (how === RESTART && !stopping) launch().catch((error) => appendFileSync(logFile, `${JSON.stringify({ level: 'ERROR', message: error.message })}\n`));
    });
    let head = '';
    const listening = new Promise((resolve) => {
      next.stdout.on('data', (chunk) => {
        if (head === undefined) return;
        head += chunk;
        const found = head.match(/listening on (https?):\/\/127\.0\.0\.1:(\d+)/);
        if (!found) return;
        head = undefined;
        scheme = found[1];
        resolve(Number(found[2]));
      });
    });
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, READY_MS, 'late')));
    const first = await Promise.race([listening, next.ended.then((how) => ({ how })), late]);
    clearTimeout(timer);
    if (typeof first !== 'number') {
      next.kill('SIGKILL');
      throw new Error(`the relay does not listen (${first === 'late' ? `after ${READY_MS} ms` : first.how}):\n${logs().slice(-4_000)}`);
    }
    port = first;
    child = next;
  }

  /** What must be in no log: this relay's key. */
  function noteSecret() {
    try {
      appendFileSync(secrets, `${readFileSync(join(dataDir, 'dev-secret')).toString('hex')}\n`);
    } catch (error) {
      if (dataDir !== ':memory:') throw error; // in memory it is kept nowhere
    }
  }

  async function end(signal) {
    child.kill(signal);
    return child.ended;
  }

  async function call(path, init = {}) {
    return fetch(`${scheme}://127.0.0.1:${port}${path}`, { ...init, signal: AbortSignal.timeout(15_000) });
  }

  const relay = {
    get url() {
      return `${scheme}://127.0.0.1:${port}`;
    },
    get port() {
      return port;
    },
    get pid() {
      return child.pid;
    },
    get logs() {
      return logs();
    },
    dataDir,
    /** As a power cut for the process: nothing is flushed, nobody told. */
    kill9: () => end('SIGKILL'),
    /** The same port and data; after `kill9`, or instead of `stop` and a new start. */
    async restart() {
      if (alive.has(child)) await end('SIGTERM');
      await launch();
    },
    /** Drains and ends; the temporary data folder goes. Its exit code or signal. */
    async stop() {
      stopping = true;
      const how = await end('SIGTERM');
      noteSecret();
      if (!options.dataDir) await rm(dataDir, { recursive: true, force: true });
      return how;
    },
    /** A token of `/dev/token`, made once for the same claims. */
    async token({ restaurant = 'demo', role = 'manager', sub, ttl } = {}) {
      const query = new URLSearchParams({ restaurant_id: restaurant, role });
      if (sub !== undefined) query.set('sub', sub);
      if (ttl !== undefined) query.set('ttl', String(ttl));
      if (ttl === undefined && tokens.has(query.toString())) return tokens.get(query.toString());
      const answer = await call(`/dev/token?${query}`);
      if (!answer.ok) throw new Error(`/dev/token answered ${answer.status}: ${await answer.text()}`);
      const { token } = await answer.json();
      if (ttl === undefined) tokens.set(query.toString(), token);
      return token;
    },
    /** Any call on the HTTP API with a manager's token: `{status, body}`. */
    async api(method, path, body, { restaurant = 'demo', role, headers } = {}) {
      const token = await relay.token({ restaurant, role });
      const answer = await call(`/api/v1/restaurants/${restaurant}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      const text = await answer.text();
      return { status: answer.status, body: text && JSON.parse(text) };
    },
    /** Posts an order, `fields` over a burger, as a backend does (no rate limit); the Order. `key` is its `Idempotency-Key`. */
    async postOrder(fields = {}, { restaurant, role = 'service', key } = {}) {
      const order = { type: 'dine-in', items: [{ menu_item_id: 'burger', name: 'Burger', quantity: 1, price: 9.5 }], ...PLANTED, ...fields };
      const { status, body } = await relay.api('POST', '/orders', order, { restaurant, role, headers: key ? { 'idempotency-key': key } : {} });
      if (status !== 201) throw new Error(`POST orders answered ${status}: ${JSON.stringify(body)}`);
      return body;
    },
    /** The live set as the relay has it, all of its pages. */
    async orders({ restaurant } = {}) {
      const all = [];
      let cursor;
      do {
        const query = cursor === undefined ? '' : `&cursor=${encodeURIComponent(cursor)}`;
        const { status, body } = await relay.api('GET', `/orders?limit=200${query}`, undefined, { restaurant });
        if (status !== 200) throw new Error(`GET orders answered ${status}: ${JSON.stringify(body)}`);
        all.push(...body.orders);
        cursor = body.next_cursor ?? undefined;
      } while (cursor !== undefined);
      return all;
    },
    /** Who is connected, as an operator sees it. */
    async sessions({ restaurant } = {}) {
      const token = await relay.token({ restaurant });
      const answer = await call('/api/v1/sessions', { headers: { authorization: `Bearer ${token}` } });
      if (answer.status !== 200) throw new Error(`GET sessions answered ${answer.status}: ${await answer.text()}`);
      return (await answer.json()).sessions;
    },
    /** `/dev/trouble`: `cut`, `stall`, `expire`, `restart`. After a `restart` the same relay comes back. */
    async trouble(kind, fields = {}) {
      const before = child;
      const answer = await call('/dev/trouble', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ kind, ...fields }) });
      if (answer.status !== 202) throw new Error(`/dev/trouble answered ${answer.status}: ${await answer.text()}`);
      if (kind !== 'restart') return;
      await once(before, 'exit');
      for (const deadline = Date.now() + READY_MS; child === before; ) {
        if (Date.now() > deadline) throw new Error(`the relay did not come back:\n${logs().slice(-4_000)}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
  };

  try {
    await launch();
  } catch (error) {
    if (!options.dataDir) await rm(dataDir, { recursive: true, force: true });
    throw error;
  }
  return relay;
}
