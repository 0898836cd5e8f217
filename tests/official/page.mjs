// A page with the official clients on it, in headless Chromium. Its origin is not the relay's.

import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from '@playwright/test';
import { build } from 'vite';
import { joined, silence, tone, wav } from './sound.mjs';

const source = fileURLToPath(new URL('pages', import.meta.url));
const { args } = JSON.parse(readFileSync(new URL('../../webdriver.json', import.meta.url), 'utf8'))['goog:chromeOptions'];
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript' };

/** What the microphone hears, over and over: words of this length, and a pause that ends the turn. */
export const WORDS_MS = 2_000;
const PAUSE_MS = 1_000;

async function serve(folder) {
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url, 'http://page').pathname);
    const body = await readFile(join(folder, path === '/' ? 'index.html' : path)).catch(() => undefined);
    if (body === undefined) return response.writeHead(404).end();
    return response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? TYPES['.html'] }).end(body);
  });
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
  return server;
}

/** Bundles the page as an application would, serves it, and starts the browser. */
export async function openBrowser() {
  const folder = await mkdtemp(join(tmpdir(), 'tautline-official-'));
  let browser;
  let server;
  const close = async () => {
    await browser?.close();
    server?.closeAllConnections();
    await new Promise((resolve) => (server ? server.close(resolve) : resolve()));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const out = join(folder, 'built');
    await build({ root: source, configFile: false, logLevel: 'error', build: { outDir: out, emptyOutDir: true, target: 'es2022', chunkSizeWarningLimit: 4_096 } });
    server = await serve(out);
    const microphone = join(folder, 'microphone.wav');
    const rate = 48_000;
    await writeFile(microphone, wav(joined([tone(WORDS_MS, { rate }), silence(PAUSE_MS, { rate })]), { rate }));
    browser = await chromium.launch({
      executablePath: process.env.TAUTLINE_CHROMIUM,
      args: [...args, `--use-file-for-fake-audio-capture=${microphone}`],
    });
    const url = `http://127.0.0.1:${server.address().port}/`;
    return {
      async newPage() {
        const page = await browser.newPage();
        const errors = [];
        page.on('pageerror', ({ message }) => errors.push(message));
        await page.goto(url);
        await page.waitForFunction(() => window.official !== undefined);
        return { page, errors };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
