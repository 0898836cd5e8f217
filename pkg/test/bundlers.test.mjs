// What the README says of Vite, with the package as it is linked: the wasm is emitted once, and found.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';
import { build } from 'vite';

const here = fileURLToPath(new URL('.', import.meta.url));

/** The emitted files of a page with this script in it, and all of its JavaScript. */
async function built(script, assetsInlineLimit = 0) {
  const root = await mkdtemp(join(here, 'page-'));
  try {
    await writeFile(join(root, 'index.html'), '<!doctype html><script type="module" src="./main.js"></script>');
    await writeFile(join(root, 'main.js'), script);
    await build({ root, configFile: false, logLevel: 'silent', build: { assetsInlineLimit, modulePreload: { polyfill: false } } });
    const names = await readdir(join(root, 'dist/assets'));
    const code = await Promise.all(names.filter((name) => name.endsWith('.js')).map((name) => readFile(join(root, 'dist/assets', name), 'utf8')));
    const wasm = names.filter((name) => name.endsWith('.wasm'));
    const bytes = wasm.length && (await stat(join(root, 'dist/assets', wasm[0]))).size;
    return { names, wasm, bytes, code: code.join('\n') };
  } finally {
    await rm(root, { recursive: true });
  }
}

for (const [how, script] of [
  ['by itself', "import { createTautline } from 'tautline'; globalThis.tautline = createTautline({});"],
  ['by name', "import init from 'tautline'; import url from 'tautline/tautline_bg.wasm?url'; globalThis.tautline = init(url);"],
]) {
  test(`Vite emits the wasm once and the page asks for it: ${how}`, async () => {
    const { wasm, code } = await built(script);
    assert.equal(wasm.length, 1);
    assert.ok(code.includes(wasm[0]));
  });
}

test('what a page does not use is not in its code', async () => {
  const { code } = await built("import { TautlineError } from 'tautline'; console.log(TautlineError);");
  assert.ok(code.includes('TautlineError'));
  assert.ok(!code.includes('WebAssembly'));
});

test('a page without calls has no code of calls, and with tautline/core no module of them', async () => {
  const sizes = [];
  for (const entry of ['tautline', 'tautline/core']) {
    const { wasm, code, bytes } = await built(`import { createTautline } from '${entry}'; globalThis.tautline = createTautline({});`);
    assert.equal(wasm.length, 1, entry);
    assert.ok(!code.includes('oai-events'), entry);
    sizes.push(bytes);
  }
  assert.ok(sizes[1] < sizes[0], `${sizes}`);
  const { code } = await built("import { VoiceConnection } from 'tautline'; globalThis.call = new VoiceConnection();");
  assert.ok(code.includes('oai-events'));
});

test('the worklets of a call are a file of their own, however much Vite puts into the code', async () => {
  const { names, code } = await built("import { VoiceConnection } from 'tautline'; globalThis.call = new VoiceConnection();", 1_000_000);
  const worklets = names.filter((name) => name.startsWith('worklet'));
  assert.equal(worklets.length, 1);
  assert.ok(code.includes(worklets[0]));
});
