// From an empty folder, the README's page is a live list: in every bundler that it names, with what it says each needs.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { extname } from 'node:path';
import { after, before, test } from 'node:test';
import { assertLiveAt, newProject, openBrowser, serve, snippets, startRelay } from './kit.mjs';

const PAGE = ['index.html', 'options.js', 'show.js', 'main.js'];
const ONE_FILE = ['index.html', 'options.js', 'show.js', 'one-file.js'];
let relay;
let browser;
before(async () => void ([relay, browser] = await Promise.all([startRelay(), openBrowser()])));
after(() => Promise.all([relay?.stop(), browser?.close()]));

/** Vite as the project has it; `of` is the name that version is installed under. */
const vite = (project, of = 'vite') => import(createRequire(project.at('package.json')).resolve(of));

/** A project for as long as the test takes. */
async function withProject(files, body) {
  const project = await newProject({ relay, files });
  try {
    return await body(project);
  } finally {
    await project.remove();
  }
}

/** Serves what was built, its page beside it, and sees that it is live. */
async function assertServed(folders, then) {
  const server = await serve(folders);
  try {
    await assertLiveAt(browser, server.url, relay, then);
  } finally {
    await server.close();
  }
}

const files = (folder) => readdirSync(folder, { recursive: true });
const ofKind = (folder, kind) => files(folder).filter((name) => extname(name) === kind);

test('Vite, built: the wasm is one file', () =>
  withProject(PAGE, async (project) => {
    await (await vite(project)).build({ root: project.folder, logLevel: 'warn' });
    assert.equal(ofKind(project.at('dist'), '.wasm').length, 1);
    await assertServed([project.at('dist')]);
  }));

for (const [name, of, more] of [['Vite', 'vite', []], ['Vite 7, with what it needs', 'vite-7', ['vite.config.js']]]) {
  test(`${name}, in development`, () =>
    withProject([...PAGE, ...more], async (project) => {
      const { createServer } = await vite(project, of);
      const server = await createServer({ root: project.folder, logLevel: 'warn', server: { host: '127.0.0.1', port: 0 } });
      try {
        await server.listen();
        await assertLiveAt(browser, server.resolvedUrls.local[0], relay);
      } finally {
        await server.close();
      }
    }));
}

test('webpack 5', () =>
  withProject(PAGE, async (project) => {
    await project.sh(snippets.get('webpack'));
    assert.equal(ofKind(project.at('dist'), '.wasm').length, 1);
    await assertServed([project.at('dist'), project.folder]);
  }));

for (const name of ['esbuild', 'rollup']) {
  test(name, () =>
    withProject(PAGE, async (project) => {
      await project.sh(snippets.get(name));
      // What is loaded only where tabs share a connection is in files of its own, if the bundler splits.
      assert.deepEqual(files(project.at('dist')).filter((file) => !/-[\w-]{8}\.js$/.test(file)).sort(), ['main.js', 'tautline_bg.wasm']);
      await assertServed([project.at('dist'), project.folder]);
    }));
}

const BUILDS = {
  Vite: async (project) => (await vite(project)).build({ root: project.folder, logLevel: 'warn' }),
  webpack: (project) => project.sh(snippets.get('webpack')),
  esbuild: (project) => project.sh(snippets.get('esbuild')),
  rollup: (project) => project.sh(snippets.get('rollup')),
};
for (const [name, build] of Object.entries(BUILDS)) {
  // The last two leave the worker's script where it is: there tabs share by locks.
  const ships = name === 'Vite' || name === 'webpack';
  test(`tabs that share a connection, by ${name}: ${ships ? 'in a worker' : 'by locks'}`, () =>
    withProject(PAGE, async (project) => {
      await project.sh(`sed -i "s/restaurantId: 'demo',/restaurantId: 'demo', share: 'device',/" options.js`);
      await project.sh(`sed -i "1i import { resources } from 'tautline'; globalThis.counts = resources.counts;" main.js`);
      await build(project);
      const server = await serve([project.at('dist'), project.folder]);
      const { page } = await browser.newPage();
      try {
        await page.goto(server.url);
        await page.waitForFunction(() => globalThis.counts?.().shared_socket === 1 && globalThis.counts().timer > 0);
        await page.waitForFunction(([worker, channel]) => globalThis.counts().worker === worker && globalThis.counts().channel > 0 === channel, [ships ? 1 : 0, !ships]);
        await relay.postOrder();
        await page.locator('li').first().waitFor();
      } finally {
        await page.close();
        await server.close();
      }
    }));
}

test('no bundler', () => withProject([['index.html', 'bare.html'], ...PAGE.slice(1)], (project) => assertServed([project.folder])));

test('one file: no module, nothing fetched', () =>
  withProject(ONE_FILE, async (project) => {
    await project.sh(snippets.get('one-file'));
    assert.deepEqual(files(project.at('dist')), ['main.js']);
    await assertServed([project.at('dist'), project.folder], ({ fetched }) => assert.deepEqual(fetched.filter((url) => /wasm|^data:|^blob:/.test(url)), []));
  }));

test('one file, in a worker that is no module', () =>
  withProject(['index.html', 'options.js', 'show.js', ['main.js', 'with-worker.js'], 'worker.js'], async (project) => {
    await project.write('classic.js', "import './main.js';\n");
    await project.sh(`
      sed -i "s/'tautline'/'tautline\\/inline'/" worker.js
      sed -i "s/new URL(.*import.meta.url), { type: 'module' }/'worker.js'/" main.js
      npx esbuild worker.js main.js --bundle --format=iife --outdir=dist`);
    await assertServed([project.at('dist'), project.folder]);
  }));

test('one file: a call over a socket there has to be told where its worklets are, any other not', () =>
  withProject(['index.html'], async (project) => {
    await project.write('calls.js', `
      import init, { VoiceConnection } from 'tautline/inline';
      const ways = [{}, { transport: 'websocket' }, { fallback: 'websocket' }, { transport: 'websocket', workletUrl: '/worklet.js' }];
      const said = (options) => {
        try {
          new VoiceConnection(options).dispose();
          return 'made';
        } catch ({ code, message }) {
          return code + ': ' + message;
        }
      };
      init().then(() => { window.said = ways.map(said); });
    `);
    await project.sh('npx esbuild calls.js --bundle --format=iife --outfile=dist/main.js');
    const server = await serve([project.at('dist'), project.folder]);
    const { page } = await browser.newPage();
    try {
      await page.goto(server.url);
      const told = 'invalid_argument: a call over a socket in a bundle that is not a module takes workletUrl; got undefined';
      assert.deepEqual(await (await page.waitForFunction(() => window.said)).jsonValue(), ['made', told, told, 'made']);
    } finally {
      await page.close();
      await server.close();
    }
  }));

test('a page of tautline and tautline/inline has one client, loaded once', () =>
  withProject(['index.html', 'options.js', 'show.js'], async (project) => {
    await project.write('main.js', `
      import * as all from 'tautline';
      import * as inline from 'tautline/inline';
      import { options } from './options.js';
      import { show } from './show.js';
      window.same = Object.keys(all).filter((name) => all[name] === inline[name]);
      const [{ manager, orders }, other] = await Promise.all([inline.createTautline(options), all.createTautline(options)]);
      other.dispose();
      orders.onOrders(show);
      orders.initialize();
      await manager.acquire();
      window.held = all.resources.counts();
    `);
    await (await vite(project)).build({ root: project.folder, logLevel: 'error' });
    await assertServed([project.at('dist')], async ({ page, fetched }) => {
      assert.deepEqual((await page.evaluate(() => window.same)).sort(), ['ConnectionManager', 'OrderUpdates', 'Recording', 'TautlineError', 'VoiceConnection', 'WebRTCConnection', 'WebSocketPool', 'WebSocketService', 'initSync', 'resources'].sort());
      assert.equal((await page.evaluate(() => window.held)).socket, 1);
      assert.deepEqual(fetched.filter((url) => url.endsWith('.wasm')), []);
    });
  }));

for (const [kind, page, worker] of [['dedicated worker', 'with-worker.js', 'worker.js'], ['shared worker', 'with-shared-worker.js', 'shared-worker.js']]) {
  const sources = ['index.html', 'options.js', 'show.js', ['main.js', page], worker];
  test(`a ${kind}, by Vite`, () =>
    withProject(sources, async (project) => {
      await (await vite(project)).build({ root: project.folder, logLevel: 'warn' });
      await assertServed([project.at('dist')]);
    }));
  test(`a ${kind}, by webpack`, () =>
    withProject(sources, async (project) => {
      await project.sh(snippets.get('webpack'));
      await assertServed([project.at('dist'), project.folder]);
    }));
}

/** The picture of the README (`docs/react.png`), as the page is now. */
async function picture(page) {
  const items = (...names) => names.map((name, n) => ({ menu_item_id: name.toLowerCase(), name, quantity: n + 1, price: 9.5 }));
  for (const order of await relay.orders()) await relay.api('PATCH', `/orders/${order.id}/status`, { status: 'cancelled' });
  const posted = [await relay.postOrder({ items: items('Burger', 'Cola') }), await relay.postOrder({ items: items('Ramen') }), await relay.postOrder({ items: items('Salad', 'Tea') })];
  await relay.api('PATCH', `/orders/${posted[0].id}/status`, { status: 'confirmed' });
  await page.locator(`li[data-id="${posted[0].id}"]`).filter({ hasText: 'confirmed' }).waitFor();
  await page.locator('li').nth(posted.length).waitFor({ state: 'detached' });
  await page.locator(`li[data-id="${posted[2].id}"]`).waitFor();
  await page.setViewportSize({ width: 480, height: 200 });
  await page.screenshot({ path: 'test-results/react.png' });
}

const LAYOUT = 'export default function Layout({ children }) {\n  return <html lang="en"><body>{children}</body></html>;\n}\n';

for (const bundler of ['turbopack', 'webpack']) {
  test(`Next.js by ${bundler}: the server renders the page, the browser takes it over`, () =>
    withProject([['app/page.jsx', 'page.jsx'], ['app/options.js', 'options.js']], async (project) => {
      await project.write('app/layout.jsx', LAYOUT);
      await project.sh(`npx next build --${bundler}`);
      const server = spawn(process.execPath, [project.at('node_modules/next/dist/bin/next'), 'start', '--hostname', '127.0.0.1', '--port', '0'], {
        cwd: project.folder,
        env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1' },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = new Promise((resolve) => server.once('exit', resolve));
      try {
        let said = '';
        const url = await new Promise((resolve, reject) => {
          server.stdout.on('data', (chunk) => {
            said += chunk;
            const [found] = said.match(/http:\/\/127\.0\.0\.1:[1-9]\d*/) ?? [];
            if (found && /Ready/.test(said)) resolve(found);
          });
          ended.then(() => reject(new Error(`next start ended:\n${said}`)));
        });
        const rendered = await (await fetch(url)).text();
        assert.match(rendered, /<p>One moment<\/p>/);
        // A text that differs between server and browser is among the complaints.
        await assertLiveAt(browser, url, relay, ({ page }) => picture(page));
      } finally {
        server.kill('SIGTERM');
        await ended;
      }
    }));
}

test('Node, from the bytes', () =>
  withProject(['options.js', 'node.js'], async (project) => {
    const child = spawn(process.execPath, ['node.js'], { cwd: project.folder, stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    try {
      const order = await relay.postOrder();
      let said = '';
      const heard = (status) => new Promise((resolve, reject) => {
        const look = (chunk = '') => {
          said += chunk;
          if (said.includes(`${order.id} ${status}`)) resolve();
        };
        child.stdout.on('data', look);
        look();
        ended.then((code) => reject(new Error(`it ended with ${code}:\n${said}`)));
      });
      await heard('new');
      await relay.api('PATCH', `/orders/${order.id}/status`, { status: 'confirmed' });
      await heard('confirmed');
    } finally {
      child.kill('SIGTERM');
      await ended;
    }
  }));

test('each file and command of the README is in a test', () => {
  const tests = ['kit.mjs', 'builds.test.mjs'].map((name) => readFileSync(new URL(name, import.meta.url), 'utf8')).join('\n');
  assert.ok(snippets.size > 0);
  assert.deepEqual([...snippets.keys()].filter((name) => !tests.includes(`'${name}'`)), []);
});
