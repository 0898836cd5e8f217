// What the tests of the packed package have in common: empty projects with it, the README's own words, a server for what is
// built, and a browser that opens it.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { promisify } from 'node:util';
import { chromium } from '@playwright/test';
import { startRelay as start } from '../e2e/harness/relay.mjs';
import { link } from './packed.mjs';

const run = promisify(execFile);
const { args } = JSON.parse(readFileSync(new URL('../../webdriver.json', import.meta.url), 'utf8'))['goog:chromeOptions'];
const LIVE_MS = 20_000;

/** Where it is packed and installed, for all tests of one run. */
const home = () => process.env.TAUTLINE_PACKED ?? assert.fail('TAUTLINE_PACKED is not set: run "npm test -- packaging"');
export const tarball = () => process.env.TAUTLINE_TARBALL;

/** The README as it is shipped: its blocks of code by the file that their first line names. */
export const snippets = new Map(
  [...readFileSync(join(home(), 'project/node_modules/tautline/README.md'), 'utf8').matchAll(/^```\w+\n(?:\/\/|<!--|#) ([\w.-]+)(?: -->)?\n([\s\S]*?)^```$/gm)].map(([, name, text]) => [name, text]),
);
const snippet = (name) => snippets.get(name) ?? assert.fail(`the README has no ${name}`);

/** A relay as the README starts it, which is for pages of any port of this machine. */
export function startRelay() {
  const [, name, value] = snippet('relay').match(/^(\w+)='([^']+)' npm start$/m);
  return start({ www: null, env: { [name]: value } });
}

/** The relay that the README's snippets name. */
const TRIED = 'http://127.0.0.1:8787';

/**
 * An empty project with the package installed and these of the README's files in it; the relay's address is all that is changed.
 * @param {{ relay?: { url: string }, files?: (string | [as: string, name: string])[] }} what
 */
export async function newProject({ relay, files = [] }) {
  const folder = await mkdtemp(join(home(), 'at-'));
  await link(join(home(), 'project'), folder);
  const project = {
    folder,
    at: (path) => join(folder, path),
    async write(path, text) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), text);
    },
    /** Runs commands in it; what they said. */
    async sh(commands) {
      const { stdout, stderr } = await run('sh', ['-ec', commands], { cwd: folder, env: { ...process.env, npm_config_offline: 'true', NEXT_TELEMETRY_DISABLED: '1' }, maxBuffer: 2 ** 24 });
      return `${stdout}${stderr}`;
    },
    remove: () => rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }),
  };
  for (const file of files) {
    const [as, name] = typeof file === 'string' ? [file, file] : file;
    await project.write(as, relay ? snippet(name).replaceAll(TRIED, relay.url) : snippet(name));
  }
  return project;
}

const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/**
 * Serves folders, the first that has a file.
 * @param {string[]} folders
 * @param {(path: string, answer: { status: number, headers: Record<string, string>, body: Buffer, torn?: boolean }) => void} [change] what it does differently; `torn`: breaks off in the middle
 */
export async function serve(folders, change = () => {}) {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, 'http://page').pathname);
    const name = path === '/' ? '/index.html' : path;
    let body;
    for (const folder of folders) body ??= await readFile(join(folder, name)).catch(() => undefined);
    const answer = { status: body ? 200 : 404, headers: { 'content-type': TYPES[extname(name)] ?? 'application/octet-stream' }, body: body ?? Buffer.alloc(0) };
    change(name, answer);
    response.writeHead(answer.status, { ...answer.headers, 'content-length': answer.body.length });
    if (answer.torn) response.write(answer.body.subarray(0, answer.body.length / 2), () => response.destroy());
    else response.end(answer.body);
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A browser, and pages that keep what they were warned of. */
export async function openBrowser() {
  const browser = await chromium.launch({ executablePath: process.env.TAUTLINE_CHROMIUM, args });
  return {
    async newPage() {
      const page = await browser.newPage();
      const complaints = [];
      page.on('console', (message) => {
        // No page of these has an icon, and a browser's asking for one is no error of theirs.
        const icon = message.location().url.endsWith('/favicon.ico');
        if (['warning', 'error'].includes(message.type()) && !icon) complaints.push(message.text());
      });
      page.on('pageerror', ({ message }) => complaints.push(message));
      const fetched = [];
      page.on('request', (request) => fetched.push(request.url()));
      return { page, complaints, fetched };
    },
    close: () => browser.close(),
  };
}

/** The page shows a live list: an order that is posted now is in it, as it comes and as it changes. */
export async function assertLive({ page, complaints }, relay) {
  const line = (id) => page.locator(`li[data-id="${id}"]`);
  const order = await relay.postOrder();
  const shown = () => line(order.id).filter({ hasText: 'new' }).waitFor({ timeout: LIVE_MS });
  await shown().catch((error) => assert.fail(`${error.message}\n${complaints.join('\n')}`));
  const { status } = await relay.api('PATCH', `/orders/${order.id}/status`, { status: 'confirmed' });
  assert.equal(status, 200);
  await line(order.id).filter({ hasText: 'confirmed' }).waitFor({ timeout: LIVE_MS });
}

/** Opens an address and sees that it is live, without a complaint. */
export async function assertLiveAt(browser, url, relay, then = () => {}) {
  const opened = await browser.newPage();
  try {
    await opened.page.goto(url);
    await assertLive(opened, relay);
    await then(opened);
    assert.deepEqual(opened.complaints, []);
  } finally {
    await opened.page.close();
  }
}
