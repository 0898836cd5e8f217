// `tautline/testing` from the tarball, in the hands of those who test with it: Vitest, Jest, Playwright.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { newProject, openBrowser, serve } from './kit.mjs';

const file = (name) => readFileSync(new URL(`testing/${name}`, import.meta.url), 'utf8');
let browser;
before(async () => void (browser = await openBrowser()));
after(() => browser?.close());

async function withProject(names, body) {
  const project = await newProject({});
  try {
    for (const name of names) await project.write(name, file(name));
    return await body(project);
  } finally {
    await project.remove();
  }
}

const BOARD = ['board.js', 'board.test.js', 'setup.js'];

test('Vitest, jsdom, Testing Library', () =>
  withProject([...BOARD, 'vitest.config.js', 'vitest-timers.test.js'], async (project) => {
    const said = await project.sh('NO_COLOR=1 npx vitest run 2>&1').catch(({ stdout }) => assert.fail(stdout));
    assert.match(said, /Tests +6 passed \(6\)/);
    // React says what it minds on the console.
    assert.doesNotMatch(said, /not wrapped in act|stderr/);
  }));

test('Jest, jsdom, Testing Library', () =>
  withProject([...BOARD, 'jest.config.js', 'jest-globals.js', 'jest-timers.test.js'], async (project) => {
    const said = await project.sh('node --experimental-vm-modules node_modules/jest/bin/jest.js 2>&1').catch(({ stdout }) => assert.fail(stdout));
    assert.match(said, /Tests: +6 passed, 6 total/);
    assert.doesNotMatch(said, /not wrapped in act|console\.error|did not exit/);
  }));

/** A page with one of the scripts in it, built and served. */
async function withPage(script, body) {
  await withProject([script], async (project) => {
    await project.write('index.html', `<!doctype html><title>page</title><ul></ul><script type="module" src="./${script}"></script>`);
    const { build } = await import(createRequire(project.at('package.json')).resolve('vite'));
    await build({ root: project.folder, configFile: false, logLevel: 'error', build: { target: 'es2022', chunkSizeWarningLimit: 2_000 } });
    const server = await serve([project.at('dist')]);
    const { page, complaints, fetched } = await browser.newPage();
    try {
      await body({ project, page, url: server.url, complaints, fetched });
      assert.deepEqual(complaints, []);
    } finally {
      await page.close();
      await server.close();
    }
  });
}

test('Playwright: a real page talks to the relay in the test, its time moved by page.clock', () =>
  withPage('page.js', async ({ project, page, url, fetched }) => {
    const { createTestRelay } = await import(pathToFileURL(createRequire(project.at('package.json')).resolve('tautline/testing')));
    const relay = await createTestRelay({ clock: 'none' });
    const shows = (count) => page.waitForFunction((wanted) => document.querySelectorAll('li').length === wanted, count);
    const first = relay.createOrder();
    await page.clock.install();
    await relay.serve(page);
    await page.addInitScript((given) => (window.given = given), { url: relay.url, token: relay.token() });
    await page.goto(url);
    await shows(1);
    assert.deepEqual(await page.waitForFunction(() => window.fetched?.orders.map(({ id }) => id)).then((ids) => ids.jsonValue()), [first.id]);
    relay.createOrder();
    await shows(2);
    relay.fault('cut');
    await page.waitForFunction(() => document.title === 'reconnecting');
    relay.createOrder();
    // The first wait is half a second at most.
    await page.clock.runFor(1_000);
    await shows(3);
    await page.waitForFunction(() => document.title === 'connected');
    assert.equal(relay.connections().length, 1);
    await page.evaluate(() => window.client.dispose());
    await page.waitForFunction(() => window.held().length === 0);
    await relay.clock.runUntil(() => relay.connections().length === 0);
    assert.deepEqual(fetched.filter((address) => address.startsWith('ws:')), []);
    relay.dispose();
  }));

test('inside a page it is installed as under Node', () =>
  withPage('inside.js', async ({ page, url }) => {
    // Nothing is polled for there meanwhile: a frame asked for of a clock that stands still never comes.
    const said = page.waitForEvent('console', (message) => message.type() === 'log');
    await page.goto(url);
    assert.deepEqual(JSON.parse((await said).text()), { state: 'connected', orders: 1, fetched: 1, restored: true });
  }));
