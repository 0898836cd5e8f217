// What the package weighs in a page: bundled and made small as a page's own build does it, raw and as brotli sends it.

import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
import { build } from 'vite';
import { root } from './run.mjs';

/** The entries as they are built here. */
export const ENTRIES = [
  ['tautline', 'pkg/dist/index.js'], ['tautline/core', 'pkg/core/dist/core.js'], ['tautline/react', 'pkg/dist/react.js'], ['tautline/inline', 'pkg/dist/inline.js'],
].map(([name, path]) => ({ find: new RegExp(`^${name}$`), replacement: join(root, path) }));

/**
 * A page that imports all that a module exports.
 * @param {string} module
 * @param {{ alias?: { find: RegExp, replacement: string }[], outside?: (id: string) => boolean }} [options] `outside`: what is not counted as part of it
 * @returns {Promise<{ js: Bytes, wasm: Bytes, together: Bytes }>}
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
    const bytes = (kind) => readdirSync(assets).filter((file) => extname(file) === kind).map((file) => readFileSync(join(assets, file)))
      .reduce(({ raw, brotli }, file) => ({ raw: raw + file.length, brotli: brotli + brotliCompressSync(file).length }), { raw: 0, brotli: 0 });
    const [js, wasm] = [bytes('.js'), bytes('.wasm')];
    return { js, wasm, together: { raw: js.raw + wasm.raw, brotli: js.brotli + wasm.brotli } };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What the hooks are beside the client that they are over. */
const HOOKS = /^tautline\/react$|\/(adapter|react|order-store|page)\.js$|index\.html$/;
const isGlue = (id) => id.endsWith('/wasm/tautline.js');

/** Whose size has a limit. */
const WHOLE = 'together';

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
    );
  }
  const react = await weigh('tautline/react', { outside: (id) => !HOOKS.test(id) });
  const inline = await weigh('tautline/inline');
  return [...found, { name: 'tautline/react', part: WHOLE, bytes: react.js }, { name: 'tautline/inline', part: WHOLE, bytes: inline.js }];
}

/** What each entry may weigh, bytes of brotli (`budget`), and what it is to weigh (`target`): lowered with what is gained. */
export const limits = () => JSON.parse(readFileSync(join(root, 'pkg/budget.json'), 'utf8'));

/** The parts that are over their budget, a sentence each. */
export function overBudget(found) {
  const budgets = limits();
  return found.filter(({ part }) => part === WHOLE).flatMap(({ name, bytes: { brotli } }) => {
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
