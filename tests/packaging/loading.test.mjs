// The module where things are in its way: a strict policy, a server that serves it wrongly or not at all, a browser without
// WebAssembly. It is loaded all the same, or a typed error says what to do.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { assertLive, newProject, openBrowser, serve, snippets, startRelay } from './kit.mjs';

const POLICY = "script-src 'self' 'wasm-unsafe-eval'";
const isWasm = (path) => path.endsWith('.wasm');
const withPolicy = (policy) => (path, { headers }) => (headers['content-security-policy'] = policy);
const forWasm = (change) => (path, answer) => isWasm(path) && change(answer);

let relay;
let browser;
/** The page with the file beside it, and the page that is one file. */
const projects = {};
before(async () => {
  [relay, browser] = await Promise.all([startRelay(), openBrowser()]);
  for (const [name, main] of [['esbuild', 'main.js'], ['one-file', 'one-file.js']]) {
    projects[name] = await newProject({ relay, files: ['index.html', 'options.js', 'show.js', main] });
    await projects[name].sh(snippets.get(name));
  }
});
after(() => Promise.all([relay?.stop(), browser?.close(), ...Object.values(projects).map((project) => project.remove())]));

/** What the page's script failed with: a module, or a promise of it. */
const TELL = () => {
  const tell = ({ name, code, message, retryable }) => (window.failed = { name, code, message, retryable });
  addEventListener('error', ({ error }) => tell(error));
  addEventListener('unhandledrejection', ({ reason }) => tell(reason));
};

/** Opens the page from a server that does something differently. */
async function withPage({ change, script, build = 'esbuild' }, body) {
  const project = projects[build];
  const server = await serve([project.at('dist'), project.folder], change);
  const opened = await browser.newPage();
  try {
    await opened.page.addInitScript(TELL);
    if (script) await opened.page.addInitScript(script);
    await opened.page.goto(server.url);
    await body(opened);
  } finally {
    await opened.page.close();
    await server.close();
  }
}

for (const build of ['esbuild', 'one-file']) {
  test(`a strict policy, ${build}`, () =>
    withPage({ build, change: withPolicy(POLICY) }, async (opened) => {
      await assertLive(opened, relay);
      assert.deepEqual(opened.complaints, []);
    }));
}

for (const [name, type] of [['of bytes', 'application/octet-stream'], ['of text', 'text/plain']]) {
  test(`a MIME type ${name}: it falls back`, () =>
    withPage({ change: forWasm(({ headers }) => (headers['content-type'] = type)) }, async (opened) => {
      await assertLive(opened, relay);
      assert.equal(opened.complaints.length, 1);
      assert.match(opened.complaints[0], /application\/wasm/);
    }));
}

const from = String.raw`^tautline_bg\.wasm could not be loaded from http://127\.0\.0\.1:\d+/tautline_bg\.wasm: `;
const BYTES = 'Those are not the bytes of tautline_bg.wasm, or not all of them';
const LOST = 'Check that it is served where init\\(\\) looks for it, or say where: init\\(url\\)';
for (const [name, how, message, retryable] of [
  ["a policy without 'wasm-unsafe-eval'", { change: withPolicy("script-src 'self'") }, `${from}the page's Content-Security-Policy forbids it: allow 'wasm-unsafe-eval' in script-src`, false],
  ['the same, in one file', { build: 'one-file', change: withPolicy("script-src 'self'") }, "^tautline_bg\\.wasm could not be loaded: the page's Content-Security-Policy forbids it: allow 'wasm-unsafe-eval' in script-src", false],
  ['not there', { change: forWasm((answer) => (answer.status = 404)) }, `${from}the server answered 404\\. ${LOST}`, true],
  ['the index page in its place', { change: forWasm((answer) => Object.assign(answer, { body: Buffer.from('<!doctype html>'), headers: { 'content-type': 'text/html' } })) }, `${from}.*${BYTES}`, false],
  ['cut off in the file', { change: forWasm((answer) => (answer.body = answer.body.subarray(0, 50_000))) }, `${from}.*${BYTES}`, false],
  ['cut off on the way', { change: forWasm((answer) => (answer.torn = true)) }, `${from}.*${LOST}`, true],
  ['another origin, which does not allow it', { script: "const { fetch } = window; window.fetch = (what) => fetch(String(what).replace('127.0.0.1', 'localhost'));" }, `${from}.*${LOST}`, true],
  ['no WebAssembly', { script: 'delete window.WebAssembly;' }, "^this browser has no WebAssembly, or a policy forbids it: allow 'wasm-unsafe-eval' in script-src$", false],
]) {
  test(`${name}: the error says so`, () =>
    withPage(how, async ({ page }) => {
      const error = await (await page.waitForFunction(() => window.failed)).jsonValue();
      assert.deepEqual({ ...error, message: undefined }, { name: 'TautlineError', code: 'wasm_unavailable', message: undefined, retryable });
      assert.match(error.message, new RegExp(message, 's'));
    }));
}
