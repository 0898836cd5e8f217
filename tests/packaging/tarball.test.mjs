// What is in the tarball: all that its entries reach and nothing else, the licences, and nothing that other tools object to.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import { after, before, test } from 'node:test';
import { newProject, tarball } from './kit.mjs';

let project;
before(async () => void (project = await newProject({})));
after(() => project?.remove());

const read = (path) => readFileSync(project.at(join('node_modules/tautline', path)), 'utf8');
const manifest = () => JSON.parse(read('package.json'));
const shipped = () => readdirSync(project.at('node_modules/tautline'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => posix.relative(project.at('node_modules/tautline'), join(entry.parentPath, entry.name)));

const PAPERS = ['LICENSE-APACHE', 'LICENSE-MIT', 'README.md', 'THIRD-PARTY-NOTICES.txt', 'package.json'];
const IMPORT = /(?:from|import)\s*\(?\s*'(\.[^']+)'|new URL\('(\.[^'?]+)[^']*', import\.meta\.url\)/g;

test('each file is reached from an entry, or declares what is; and each that is reached is there', () => {
  const entries = Object.values(manifest().exports).flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)));
  const reached = new Set(entries.map((entry) => posix.normalize(entry)));
  for (const file of reached) {
    if (!/\.js$|\.d\.ts$/.test(file)) continue;
    for (const [, imported, asset] of read(file).matchAll(IMPORT)) {
      const path = posix.join(posix.dirname(file), imported ?? asset);
      reached.add(file.endsWith('.d.ts') ? path.replace(/\.js$/, '.d.ts') : path);
    }
  }
  const declared = shipped().filter((file) => file.endsWith('.d.ts') && reached.has(file.replace(/\.d\.ts$/, '.js')));
  assert.deepEqual(shipped().sort(), [...new Set([...reached, ...declared, ...PAPERS])].sort());
});

test('the only addresses of files in it are the module\'s, the worklets\' and the SharedWorker\'s', () => {
  const assets = shipped().filter((file) => file.endsWith('.js')).flatMap((file) => [...read(file).matchAll(/new URL\([^)]*import\.meta\.url\)/g)].map(([found]) => `${file}: ${found}`));
  assert.deepEqual(assets.sort(), [
    "core/dist/share-line.js: new URL('./share-worker.js', import.meta.url)",
    "core/wasm/beside.js: new URL('./tautline_bg.wasm', import.meta.url)",
    "dist/share-line.js: new URL('./share-worker.js', import.meta.url)",
    "dist/voice-options.js: new URL('./worklet.js?no-inline', import.meta.url)",
    "wasm/beside.js: new URL('./tautline_bg.wasm', import.meta.url)",
  ]);
});

test('it is ESM without side effects, needs nothing, and names its types first', () => {
  const { type, sideEffects, dependencies, scripts, exports } = manifest();
  assert.deepEqual({ type, sideEffects, dependencies, hooks: Object.keys(scripts).filter((name) => /install|prepare/.test(name)) }, { type: 'module', sideEffects: false, dependencies: undefined, hooks: [] });
  for (const target of Object.values(exports)) if (typeof target !== 'string') assert.deepEqual(Object.keys(target), ['types', 'default']);
});

test('its licences, and the notices of what is compiled into it', () => {
  assert.equal(manifest().license, 'MIT OR Apache-2.0');
  assert.match(read('LICENSE-MIT'), /^MIT License\n\nCopyright \(c\) \d{4} The Tautline contributors\n/);
  assert.match(read('LICENSE-APACHE'), /Apache License\s+Version 2\.0/);
  const notices = read('THIRD-PARTY-NOTICES.txt');
  for (const name of ['The Rust standard library', 'wasm-bindgen 0.', 'js-sys 0.', 'web-sys 0.', 'gloo-net 0.', 'serde 1.']) assert.ok(notices.includes(name), name);
  assert.ok(notices.split('Permission is hereby granted').length > 10);
  // What runs only while it is compiled, and what only the relay has.
  for (const name of ['proc-macro2', 'wasm-bindgen-macro', 'tokio', 'rusqlite', 'str0m']) assert.ok(!new RegExp(`^${name} `, 'm').test(notices), name);
});

test('publint has nothing to say', async () => {
  assert.match(await project.sh(`npx publint run '${tarball()}' --strict`), /All good!/);
});

// ESM only: `require` cannot have it, nor a TypeScript that does not know `exports`. And a module's bytes have no types.
test('are the types wrong? No, of each entry, for whoever can import ESM', async () => {
  const [modules, bytes] = [[], []];
  for (const entry of Object.keys(manifest().exports)) (entry.endsWith('.wasm') ? bytes : modules).push(entry);
  const said = await project.sh(`npx attw '${tarball()}' --profile esm-only --no-definitely-typed --format json --exclude-entrypoints ${bytes.join(' ')}`);
  const { analysis } = JSON.parse(said);
  assert.deepEqual(Object.keys(analysis.entrypoints).sort(), modules.sort());
  const objected = analysis.problems.filter(({ resolutionKind }) => resolutionKind !== 'node10' && resolutionKind !== 'node16-cjs');
  assert.deepEqual(objected, []);
});
