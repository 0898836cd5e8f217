// Running other programs: one line for each step, a log for its detail, and nothing left running at the end.

import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createWriteStream, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const tools = join(root, '.tools');

/** What a person should read: one sentence, no stack. */
export class Failure extends Error {
  constructor(sentence, code = 1) {
    super(sentence);
    this.code = code;
  }
}

// Everything started from here carries this mark in its environment. A browser started by a driver started by
// a test runner has a process group of its own; the mark still finds it.
const MARK = 'TAUTLINE_RUN';
const mark = randomUUID();
process.env[MARK] = mark;

const running = new Set();
let stopping = false;

/** A child in its own process group, so that it and what it starts can be ended together. */
export function start(command, args, options = {}) {
  if (stopping) throw new Failure('It is ending: nothing more is started.');
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options, detached: true });
  running.add(child);
  child.ended = new Promise((resolve) => {
    child.once('error', (error) => resolve({ error }));
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  child.ended.then(() => running.delete(child));
  return child;
}

function signalGroup(pid, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // It has ended meanwhile.
  }
}

/** Ends one child and its group: asked first, then not asked. */
export async function stop(child, graceMs = 12_000) {
  if (child.pid === undefined) return;
  signalGroup(child.pid, 'SIGTERM');
  const ended = await Promise.race([child.ended, delay(graceMs, 'late', { ref: false })]);
  if (ended === 'late') signalGroup(child.pid, 'SIGKILL');
  await child.ended;
}

/** Ends whatever carries this run's mark and outlived its parent. */
function sweep() {
  let ids;
  try {
    ids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  } catch {
    return; // not Linux: the process groups were all there is
  }
  for (const id of ids) {
    if (Number(id) === process.pid) continue;
    try {
      if (readFileSync(`/proc/${id}/environ`, 'latin1').includes(`${MARK}=${mark}`)) process.kill(Number(id), 'SIGKILL');
    } catch {
      // Another user's, or gone.
    }
  }
}

export async function stopAll() {
  await Promise.all([...running].map((child) => stop(child)));
  sweep();
}

/**
 * Runs a script's body; its failures are sentences, its end and any signal leave nothing behind.
 * (`exec` in package.json makes npm's shell give way to us, or a signal sent to npm would end the shell alone.)
 */
export async function main(body, { exitOnSignal = 130 } = {}) {
  let askedAt = 0;
  const onSignal = () => {
    // A terminal's Ctrl-C may come twice, from the terminal and from npm: only a later one is impatience.
    if (stopping && Date.now() - askedAt > 1_000) {
      for (const child of running) signalGroup(child.pid, 'SIGKILL');
      return;
    }
    if (stopping) return;
    stopping = true;
    askedAt = Date.now();
    stopAll().then(() => process.exit(exitOnSignal));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, onSignal);
  process.stdout.on('error', onSignal); // whoever read our output has gone
  if (process.env.npm_lifecycle_event) {
    // npm killed in a way that it could not pass on.
    const npm = process.ppid;
    setInterval(() => process.ppid === npm || onSignal(), 300).unref();
  }

  let code = 0;
  try {
    code = (await body()) ?? 0;
  } catch (error) {
    if (!stopping) {
      console.error(error instanceof Failure ? `\n${error.message}` : error);
      code = error instanceof Failure ? error.code : 1;
    }
  }
  if (stopping) return; // the signal's handler ends the process
  stopping = true;
  await stopAll();
  process.exit(code);
}

/** Output of a short command, or `undefined` when it is missing or fails. */
export async function output(command, args, options = {}) {
  const child = start(command, args, options);
  let text = '';
  child.stdout?.on('data', (chunk) => (text += chunk));
  child.stderr?.resume();
  const { code } = await child.ended;
  return code === 0 ? text.trim() : undefined;
}

/** The step whose line on the terminal is not ended. */
let open;

function beginLine(step, text) {
  process.stdout.write(`${open ? '\n' : ''}${text}`);
  open = step;
}

/** Ends a step's line; where another's came between, it gets a new one. */
function endLine(step, what, how) {
  if (open !== step) process.stdout.write(`${open ? '\n' : ''}${what} … `);
  open = undefined;
  console.log(how);
}

/**
 * One step of work: a line saying what and how long it usually takes, its output in a log. Several may run at once.
 * With `when`, the line appears only once the output matches: a build with nothing to do stays silent.
 */
export async function step({ what, usual, log, command, args, env, when, failed, tail = 0 }) {
  mkdirSync(join(tools, 'logs'), { recursive: true });
  const path = join(tools, 'logs', `${log}.log`);
  const file = createWriteStream(path);
  const began = Date.now();
  const child = start(command, args, { env: { ...process.env, ...env } });
  let announced = false;
  const announce = () => {
    if (announced) return;
    announced = true;
    beginLine(child, `${what} (usually ${usual}) … `);
  };
  if (!when) announce();

  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk) => {
      file.write(chunk);
      text += chunk;
      if (when?.test(text)) announce();
    });
  }
  const { code, signal, error } = await child.ended;
  await new Promise((resolve) => file.end(resolve));
  if (code === 0) {
    if (announced) endLine(child, what, `${Math.max(1, Math.round((Date.now() - began) / 1000))} s`);
    return text;
  }
  if (announced) endLine(child, what, stopping ? 'stopped' : 'failed');
  if (tail && !stopping) console.error(text.trimEnd().split('\n').slice(-tail).join('\n'));
  const why = error ? ` (${error.message})` : signal ? ` (${signal})` : '';
  throw new Failure(`${failed ?? `${what} failed`}${why}; the detail is in ${relative(process.cwd(), path)}.`);
}
