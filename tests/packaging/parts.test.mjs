// What a page does not use it does not get: neither in its code nor as a file beside it.

import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { newProject } from './kit.mjs';

let project;
let vite;
before(async () => {
  project = await newProject({});
  await project.write('index.html', '<!doctype html><script type="module" src="./main.js"></script>');
  vite = await import(createRequire(project.at('package.json')).resolve('vite'));
});
after(() => project?.remove());

/** The emitted files of a page with this script in it, and all of its JavaScript. */
async function built(script, assetsInlineLimit = 0) {
  await project.write('main.js', script);
  await vite.build({ root: project.folder, configFile: false, logLevel: 'error', build: { assetsInlineLimit, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 1_000 } });
  const at = (name) => project.at(`dist/assets/${name}`);
  const names = await readdir(at(''));
  const code = await Promise.all(names.filter((name) => name.endsWith('.js')).map((name) => readFile(at(name), 'utf8')));
  const wasm = names.filter((name) => name.endsWith('.wasm'));
  return { names, wasm, bytes: wasm.length && (await stat(at(wasm[0]))).size, code: code.join('\n') };
}

const using = (name, entry) => `import { ${name} } from '${entry}'; globalThis.used = ${name};`;

test('what a page does not use is not in its code', async () => {
  const { code } = await built(using('TautlineError', 'tautline'));
  assert.ok(code.includes('TautlineError'));
  assert.ok(!code.includes('WebAssembly'));
});

test('a page without calls has no code of calls, and with tautline/core no module of them', async () => {
  const sizes = [];
  for (const entry of ['tautline', 'tautline/core']) {
    const { wasm, code, bytes } = await built(using('createTautline', entry));
    assert.equal(wasm.length, 1, entry);
    assert.ok(code.includes(wasm[0]), entry);
    assert.ok(!code.includes('oai-events'), entry);
    sizes.push(bytes);
  }
  assert.ok(sizes[1] < sizes[0], `${sizes}`);
  const { code } = await built(using('VoiceConnection', 'tautline'));
  assert.ok(code.includes('oai-events'));
});

test('a page of tautline/inline has no file of the wasm, and any other none of its bytes', async () => {
  const [inline, beside] = [await built(using('createTautline', 'tautline/inline')), await built(using('createTautline', 'tautline'))];
  assert.deepEqual([inline.wasm, beside.wasm.length], [[], 1]);
  const { bytes } = beside;
  assert.ok(inline.code.length > (bytes * 4) / 3);
  assert.ok(beside.code.length < bytes);
});

test('the worklets of a call are a file of their own, however much Vite puts into the code', async () => {
  const { names, code } = await built(using('VoiceConnection', 'tautline'), 1_000_000);
  const worklets = names.filter((name) => name.startsWith('worklet'));
  assert.equal(worklets.length, 1);
  assert.ok(code.includes(worklets[0]));
});
