// A bare page with the built package on it, for tests that need a client with options of their own. It has an origin
// of its own, so the relay it talks to needs `--allowed-origin` (`LAB_ORIGIN`).

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';

const pkg = fileURLToPath(new URL('../../../pkg', import.meta.url));
const pages = fileURLToPath(new URL('lab', import.meta.url));
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.wasm': 'application/wasm', '.map': 'application/json' };

/** For `startRelay({ args: LAB_ORIGIN })`. */
export const LAB_ORIGIN = ['--allowed-origin', 'http://127.0.0.1:*'];

/** Serves `pkg/dist`, `pkg/wasm` and the pages of `lab/`. */
export async function startLab() {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, 'http://lab').pathname);
    const file = /^\/(dist|wasm)\//.test(path) ? join(pkg, path) : join(pages, path === '/' ? 'index.html' : path);
    const body = await readFile(file).catch(() => undefined);
    if (body === undefined) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'text/plain' }).end(body);
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/**
 * Opens the bare page with a client at `window.__tautline`, not yet connected.
 * @param {import('@playwright/test').Page} page
 * @param {{ url: string }} lab
 * @param {{ getToken?: (request: { reason: string, attempt: number }) => string | null | Promise<string | null>, [option: string]: unknown }} options the client's
 * @param {string} [path] another page of the lab's
 */
export async function openLab(page, lab, { getToken, ...options }, path = '') {
  if (getToken) await page.exposeFunction('getLabToken', getToken);
  await page.goto(`${lab.url}/${path}`);
  await page.waitForFunction(() => window.tautline !== undefined);
  await page.evaluate(async (given) => {
    const { getLabToken, tautline } = window;
    const made = await tautline.createTautline({ ...given, ...(getLabToken ? { getToken: (request) => getLabToken(request) } : {}) });
    window.__tautline = { ...made, resources: tautline.resources };
  }, options);
}

/** Starts the order set and connects; the error's code when that is refused. @param {import('@playwright/test').Page} page */
export function connectLab(page) {
  return page.evaluate(async () => {
    const { orders, service } = window.__tautline;
    orders.initialize();
    try {
      await service.connect();
      return 'connected';
    } catch (error) {
      return error.code;
    }
  });
}
