// The client's tests in headless Chromium, and the two servers they talk to.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { COMPILES } from './build.mjs';
import { root, step, tools } from './run.mjs';
import { rustSuite, suite } from './suites.mjs';

/** Addresses are compiled into the wasm tests: the same ones each time, if free, save compiling them again. */
const RELAY_PORT = 18787;
const PLAIN_PORT = 18788;

/** The port if nothing listens there, else any. */
function portNear(wanted) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(0));
    probe.listen(wanted, '127.0.0.1', () => probe.close(() => resolve(wanted)));
  });
}

/** chromedriver's settings with the browser's place in them. */
function webdriver() {
  const settings = JSON.parse(readFileSync(join(root, 'webdriver.json'), 'utf8'));
  settings['goog:chromeOptions'].binary = process.env.TAUTLINE_CHROMIUM;
  mkdirSync(tools, { recursive: true });
  const path = join(tools, 'webdriver.json');
  writeFileSync(path, JSON.stringify(settings));
  return path;
}

/** What the tests are compiled with. */
const addresses = (relay, plain) => ({ TAUTLINE_TEST_RELAY: relay, TAUTLINE_TEST_PLAIN: plain });

/** Compiles them and runs none, for the addresses that they will most likely have. */
export function compileWasm() {
  return step({
    what: 'Compiling the browser tests', usual: '2 min the first time', log: 'wasm-tests', when: COMPILES,
    command: 'cargo', args: ['build', '--tests', '--target', 'wasm32-unknown-unknown', '-p', 'tautline'],
    env: addresses(`http://127.0.0.1:${RELAY_PORT}`, `http://127.0.0.1:${PLAIN_PORT}`),
  });
}

/** Runs them, or with `--test FILE NAME` some of them. @param {string} program the relay @param {string[]} [only] */
export async function wasm(program, only = []) {
  // Imported here, when the npm packages they need are there.
  const { startRelay } = await import('../../tests/e2e/harness/relay.mjs');
  const { startPlainServer } = await import('../../tests/servers/plain.mjs');
  // The runner's page has a port of its own, which changes.
  const relay = await startRelay({ program, port: await portNear(RELAY_PORT), www: null, args: ['--allowed-origin', 'http://127.0.0.1:*'] });
  const plain = await startPlainServer({ port: await portNear(PLAIN_PORT) });
  try {
    return await suite(
      'browser', 'wasm-pack',
      ['test', '--headless', '--chrome', '--chromedriver', process.env.TAUTLINE_CHROMEDRIVER, '--mode', 'no-install', '.', '-p', 'tautline', ...only],
      {
        rows: rustSuite('browser (wasm-pack)'),
        needsAll: true,
        env: {
          ...addresses(relay.url, plain.url),
          WASM_BINDGEN_TEST_WEBDRIVER_JSON: webdriver(),
          WASM_BINDGEN_TEST_TIMEOUT: '300',
        },
      },
    );
  } finally {
    await plain.stop();
    await relay.stop();
  }
}
