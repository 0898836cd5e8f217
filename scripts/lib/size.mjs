// What the package weighs in a page: bundled and made small as a page's own build does it, raw and as brotli sends it.

import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { build } from 'vite';
import { root } from './run.mjs';

/** Entries that add to a page which has the client already. */
const ADDED = ['react', 'vue', 'svelte', 'inspector'];

/** The entries as they are built here. */
export const ENTRIES = [
  ['tautline', 'pkg/dist/index.js'], ['tautline/core', 'pkg/core/dist/core.js'], ['tautline/inline', 'pkg/dist/inline.js'],
  ['tautline/testing', 'pkg/dist/testing.js'],
  ...ADDED.map((name) => [`tautline/${name}`, `pkg/dist/${name}.js`]),
].map(([name, path]) => ({ find: new RegExp(`^${name}$`), replacement: join(root, path) }));

/** What a page loads only when its tabs share a connection. */
const isLater = (file) => /^share-/.test(file);

/**
 * A page that imports all that a module exports.
 * @param {string} module
 * @param {{ alias?: { find: RegExp, replacement: string }[], outside?: (id: string) => boolean }} [options] `outside`: what is not counted as part of it
 * @returns {Promise<{ js: Bytes, wasm: Bytes, together: Bytes, later: Bytes }>} `later` is not in `together`
 * @typedef {{ raw: number, brotli: number }} Bytes
 */
export async function weigh(module, { alias = ENTRIES, outside = () => false } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'tautline-size-'));
  try {
    writeFileSync(join(folder, 'index.html'), '<!doctype html><script type="module" src="./page.js"></script>');
    writeFileSync(join(folder, 'page.js'), `import * as all from '${module}'; globalThis.all = all;`);
    await build({
      root: folder,
      configFile: false,
      logLevel: 'error',
      build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false }, rollupOptions: { external: outside } },
      resolve: { alias },
    });
    const assets = join(folder, 'dist/assets');
    const bytes = (kind, later = false) => readdirSync(assets).filter((file) => extname(file) === kind && isLater(file) === later).map((file) => readFileSync(join(assets, file)))
      .reduce(({ raw, brotli }, file) => ({ raw: raw + file.length, brotli: brotli + brotliCompressSync(file).length }), { raw: 0, brotli: 0 });
    const [js, wasm] = [bytes('.js'), bytes('.wasm')];
    return { js, wasm, together: { raw: js.raw + wasm.raw, brotli: js.brotli + wasm.brotli }, later: bytes('.js', true) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What only those have; the rest is the client's, or a framework's. */
const isAdded = (id) => /(^tautline|\/dist)\/(react|vue|svelte|inspector)(\.js)?$|\/(order-store|adapter|page)\.js$|index\.html$/.test(id);
const isGlue = (id) => id.endsWith('/wasm/tautline.js');

const WHOLE = 'together';
/** Whose size has a limit: what a page imports. */
export const LIMITED = [WHOLE, 'added'];

/** Our own parts, of each entry: `{ name, part, bytes }`. */
export async function parts() {
  const found = [];
  for (const [entry, wasm] of [['tautline', 'pkg/wasm'], ['tautline/core', 'pkg/core/wasm']]) {
    const [whole, layer, glue] = [await weigh(entry), await weigh(entry, { outside: isGlue }), await weigh(join(root, wasm, 'tautline.js'))];
    found.push(
      { name: entry, part: 'WebAssembly', bytes: whole.wasm },
      { name: entry, part: 'its glue', bytes: glue.js },
      { name: entry, part: 'the layer over it', bytes: layer.js },
      { name: entry, part: WHOLE, bytes: whole.together },
      { name: entry, part: "and with `share: 'device'`, page and worker", bytes: whole.later },
    );
  }
  for (const name of ['tautline/inline', 'tautline/testing']) {
    const { js } = await weigh(name);
    found.push({ name, part: WHOLE, bytes: js });
  }
  for (const name of ADDED.map((entry) => `tautline/${entry}`)) {
    const { js } = await weigh(name, { outside: (id) => !isAdded(id) });
    found.push({ name, part: 'added', bytes: js });
  }
  return found;
}

/** What each entry may weigh, bytes of brotli (`budget`), and what it is to weigh (`target`): lowered with what is gained. */
export const limits = () => JSON.parse(readFileSync(join(root, 'pkg/budget.json'), 'utf8'));

/** The parts that are over their budget, a sentence each. */
export function overBudget(found) {
  const budgets = limits();
  return found.filter(({ part }) => LIMITED.includes(part)).flatMap(({ name, bytes: { brotli } }) => {
    if (!budgets[name]) return [`${name} has no budget in pkg/budget.json.`];
    const { budget } = budgets[name];
    return brotli <= budget ? [] : [`${name} weighs ${brotli} bytes of brotli, ${brotli - budget} over its budget (pkg/budget.json).`];
  });
}

export const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} KB`;

/** A line for each entry. */
export function lines(found) {
  return Object.keys(limits()).map((name) => {
    const own = found.filter((one) => one.name === name);
    return `${name}, as brotli sends it: ${own.map(({ part, bytes }) => `${part} ${kilobytes(bytes.brotli)}`).join(', ')}`;
  });
}
