// A page in headless Chromium, and what it costs.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { chromium } from '@playwright/test';
import { build } from 'vite';
import { WebSocketServer } from 'ws';
import { buildPackage } from '../../scripts/lib/build.mjs';
import { root } from '../../scripts/lib/run.mjs';
import { setup } from '../../scripts/lib/setup.mjs';
import { ENTRIES } from '../../scripts/lib/size.mjs';
import { benchDir } from './bench.mjs';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

/** Clients by the name that their pages import them by. */
const CLIENTS = ['ably', 'centrifuge', 'livekit-client', 'partysocket', 'phoenix', 'reconnecting-websocket', 'socket.io-client', '@openai/agents-realtime'];

export const alias = [
  ...ENTRIES,
  { find: /^partysocket\/ws$/, replacement: join(benchDir, 'node_modules/partysocket/dist/ws.js') },
  ...CLIENTS.map((module) => ({ find: new RegExp(`^${module}$`), replacement: join(benchDir, 'node_modules', module) })),
];

/** Builds a page with this module as a user's would be; the folder it is in. */
async function bundle(name, code) {
  const folder = mkdtempSync(join(tmpdir(), 'tautline-bench-'));
  writeFileSync(join(folder, 'index.html'), `<!doctype html><title>bench</title><script type="module" src="./${name}.js"></script>`);
  writeFileSync(join(folder, `${name}.js`), code);
  await build({ root: folder, configFile: false, logLevel: 'error', build: { outDir: 'built', target: 'es2022', assetsInlineLimit: 0 }, resolve: { alias } });
  return folder;
}

/**
 * Serves a page and its sockets, and opens it.
 * @param {string} name a file of bench/pages
 * @param {Record<string, (socket: import('ws').WebSocket) => void>} servers by the path of the socket
 * @param {string[]} [flags] of Chromium, besides ours
 */
export async function openPage(name, servers, flags = []) {
  await setup('test');
  await buildPackage();
  const folder = await bundle(name, readFileSync(join(benchDir, `pages/${name}.js`)));
  const http = createServer((request, response) => {
    const path = new URL(request.url, 'http://page').pathname;
    try {
      const file = join(folder, 'built', path === '/' ? 'index.html' : path);
      const body = readFileSync(file);
      response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  http.on('upgrade', (request, socket, head) => {
    const server = servers[new URL(request.url, 'http://page').pathname.split('/')[1]];
    if (!server) return socket.destroy();
    socket.setNoDelay(true);
    sockets.handleUpgrade(request, socket, head, (opened) => server(opened));
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${http.address().port}/`;
  const browser = await chromium.launch({ executablePath: process.env.TAUTLINE_CHROMIUM, args: ['--enable-precise-memory-info', '--js-flags=--expose-gc', ...flags] });
  return {
    url,
    version: browser.version(),
    /** A page of its own process, ready. */
    async page() {
      const context = await browser.newContext();
      const page = await context.newPage();
      page.on('pageerror', (error) => console.error(error));
      const devtools = await context.newCDPSession(page);
      await page.goto(url);
      await page.waitForFunction(() => window.bench?.ready);
      await devtools.send('Performance.enable');
      return { page, devtools, close: () => context.close() };
    },
    async close() {
      await browser.close();
      for (const client of sockets.clients) client.terminate();
      http.close();
      http.closeAllConnections();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Microseconds that the page's main thread has run: script, parsing, events and collections, not what waited. */
export async function mainThreadUs(devtools) {
  return (await metric(devtools, 'ThreadTime')) * 1e6;
}

/** Bytes of the page's heap once what is garbage is gone. */
export async function heapBytes(devtools) {
  await devtools.send('HeapProfiler.collectGarbage');
  const { usedSize } = await devtools.send('Runtime.getHeapUsage');
  return usedSize;
}

/** A counter of the page's process, such as `JSEventListeners`. */
export async function metric(devtools, name) {
  const { metrics } = await devtools.send('Performance.getMetrics');
  return metrics.find((one) => one.name === name)?.value;
}
