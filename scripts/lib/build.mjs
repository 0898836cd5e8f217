// What is built, and when it need not be: each part is redone only when the content it is made from changed.

import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { notices } from './notices.mjs';
import { Failure, output, root, step } from './run.mjs';
import { lockedVersion, npm } from './setup.mjs';

/** What cargo says when there is something to do. */
export const COMPILES = /Compiling|Downloading|Updating|Blocking/;

let target;
/** Cargo's target folder, which the environment may have moved. */
export async function targetDir() {
  target ??= JSON.parse((await output('cargo', ['metadata', '--no-deps', '--format-version', '1'])) ?? 'null')?.target_directory;
  if (!target) throw new Failure('cargo cannot read the workspace: "cargo metadata" says why.');
  return target;
}

/** Content of files and folders, in one number. */
function fingerprint(paths, ...more) {
  const hash = createHash('sha256');
  const add = (path) => {
    const full = join(root, path);
    if (!existsSync(full)) return;
    if (statSync(full).isDirectory()) {
      for (const name of readdirSync(full).sort()) if (name !== 'node_modules') add(join(path, name));
      return;
    }
    hash.update(`${path}\0`).update(readFileSync(full)).update('\0');
  };
  for (const path of paths) add(path);
  return hash.update(JSON.stringify(more)).digest('hex');
}

/** Runs `make` unless `name` was made from the same inputs before and its `results` are still there. */
async function unlessUpToDate(name, inputs, results, make) {
  const stamps = join(await targetDir(), 'stamps');
  const stamp = join(stamps, name);
  const upToDate = existsSync(stamp) && readFileSync(stamp, 'utf8') === inputs && results.every((path) => existsSync(join(root, path)));
  if (upToDate) return;
  rmSync(stamp, { force: true });
  await make();
  mkdirSync(stamps, { recursive: true });
  writeFileSync(stamp, inputs);
}

/**
 * The relay; its path. `tested`: the native suite has built it, optimised and with every check that debug has, which is what the
 * suites behind it run; as it is deployed it takes minutes more.
 */
export async function buildRelay({ tested } = {}) {
  if (tested) return join(await targetDir(), 'debug/tautline-relay');
  await step({
    what: 'Building the relay', usual: '4 min the first time', log: 'relay', when: COMPILES, tail: 40,
    command: 'cargo', args: ['build', '--release', '-p', 'tautline-relay'],
  });
  return join(await targetDir(), 'release/tautline-relay');
}

/**
 * The echo server on the relay's WebSocket layer, in the tests' own profile; its path. `tested`: the native suite has built
 * it, as part of the whole workspace. Built by itself its dependencies have other features, and are compiled once more.
 */
export async function buildEcho({ tested }) {
  await step({
    what: 'Building the echo server', usual: '1 min', log: 'echo', when: COMPILES, tail: 40,
    command: 'cargo', args: tested ? ['test', '--workspace', '--exclude', 'tautline', '--no-run'] : ['build', '-p', 'tautline-relay', '--example', 'echo'],
  });
  return join(await targetDir(), 'debug/examples/echo');
}

const WASM_OPT = [
  '-Oz', '--enable-bulk-memory', '--enable-nontrapping-float-to-int', '--enable-sign-ext', '--enable-mutable-globals',
  '--enable-reference-types', '--enable-multivalue',
];
/** Where the module is, is said by the entries (`pkg/src/loader.ts`): a bundler sees an address only where it is used. */
const BINDGEN = ['--target', 'web', '--omit-default-module-path'];
/** The client's modules: all of it, and the one without voice. */
const CLIENTS = [
  { name: 'all', crate: 'tautline', file: 'tautline', out: 'pkg/wasm', args: [] },
  // A folder of its own: in one, either would throw the other's work away.
  { name: 'core', crate: 'tautline', file: 'tautline', out: 'pkg/core/wasm', args: ['--no-default-features'], apart: true },
];
/** The relay's machines, for `tautline/testing`. */
const RELAY = { name: 'testing', crate: 'tautline-testing', file: 'relay', out: 'pkg/testing/wasm', args: [] };

/** A module: Rust to wasm, its glue, then as small as it gets. */
async function buildWasm({ name, crate, file, out, args, apart }) {
  const glue = [`${file}.js`, `${file}.d.ts`, `${file}_bg.wasm`].map((made) => join(out, made));
  const folder = apart ? join(await targetDir(), name) : await targetDir();
  await step({
    what: `Compiling ${crate} to WebAssembly (${name})`, usual: '1 min the first time', log: `client-${name}`, when: COMPILES, tail: 40,
    command: 'cargo',
    args: ['build', '-p', crate, '--target', 'wasm32-unknown-unknown', '--profile', 'wasm-release', '--target-dir', folder, ...args],
  });
  const compiled = join(folder, `wasm32-unknown-unknown/wasm-release/${crate.replaceAll('-', '_')}.wasm`);
  const inputs = createHash('sha256').update(readFileSync(compiled)).update(`${lockedVersion('wasm-bindgen')} ${BINDGEN} ${WASM_OPT}`).digest('hex');
  await unlessUpToDate(`wasm-${name}`, inputs, glue, async () => {
    await step({
      what: `Making its JavaScript glue (${name})`, usual: '1 s', log: `wasm-bindgen-${name}`, tail: 10,
      command: 'wasm-bindgen', args: [...BINDGEN, '--out-name', file, '--out-dir', out, compiled],
    });
    const wasm = join(root, out, `${file}_bg.wasm`);
    const binaryen = join(createRequire(import.meta.url).resolve('binaryen/package.json'), '../bin/wasm-opt');
    await step({
      what: `Making it small (${name})`, usual: '20 s', log: `wasm-opt-${name}`, tail: 10,
      command: process.execPath, args: [binaryen, wasm, '-o', wasm, ...WASM_OPT],
    });
    const strange = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(wasm))).find(({ module }) => module === 'env');
    if (strange) throw new Failure(`${crate} imports "${strange.name}" from "env", which no browser has: a crate in it is not made for the web.`);
  });
}

/** What the layer has only for voice: not in `core`. */
const VOICE = /^(index|inline|voice|voice-options|voice-types|rtc|sound|worklet)\./;
/** What it has beside the client, for a framework or for whoever builds a page: not in `core`, which it works with as it is. */
const ADAPTERS = /^(adapter|inspector|order-store|react|svelte|testing|vue)(\.|$)/;

const WAYS = ['pkg/wasm/beside', 'pkg/core/wasm/beside', 'pkg/wasm/inline', 'pkg/testing/wasm/inline'].flatMap((path) => [`${path}.js`, `${path}.d.ts`]);

/** What the package is under, and what is compiled into it. */
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE'];
const NOTICES = 'pkg/THIRD-PARTY-NOTICES.txt';

/**
 * How an entry comes by a module: its address, written so that bundlers know the file for one of theirs and that what does not
 * looks beside its own output; or all of its bytes, where nothing is to be fetched.
 */
function writeWays() {
  const write = (out, name, what, type, value) => {
    writeFileSync(join(root, out, `${name}.js`), `/** ${what}. */\nexport const ${name} = ${value};\n`);
    writeFileSync(join(root, out, `${name}.d.ts`), `/** ${what}. */\nexport declare const ${name}: ${type};\n`);
  };
  for (const { out } of CLIENTS) write(out, 'beside', 'The address of tautline_bg.wasm', '() => URL', "() => new URL('./tautline_bg.wasm', import.meta.url)");
  for (const { out, file } of [CLIENTS[0], RELAY]) {
    write(out, 'inline', `The bytes, in base64, of ${file}_bg.wasm`, 'string', `'${readFileSync(join(root, out, `${file}_bg.wasm`), 'base64')}'`);
  }
}

/** `pkg/`: the modules' glue, and the TypeScript layer over the client's, once for each. */
export async function buildPackage() {
  // Each is mostly one thread's work: linking and making small.
  await Promise.all([...CLIENTS, RELAY].map(buildWasm));
  await buildLayer();
}

/** What of it is not Rust: the modules have been built. */
export async function buildLayer() {
  await unlessUpToDate('ways', fingerprint(['pkg/wasm/tautline_bg.wasm', 'pkg/testing/wasm/relay_bg.wasm', 'scripts/lib/build.mjs']), WAYS, writeWays);
  const papers = [...LICENCES.map((name) => `pkg/${name}`), NOTICES];
  await unlessUpToDate('notices', fingerprint(['Cargo.lock', 'Cargo.toml', ...LICENCES, 'scripts/lib/notices.mjs']), papers, async () => {
    for (const name of LICENCES) copyFileSync(join(root, name), join(root, 'pkg', name));
    writeFileSync(join(root, NOTICES), await notices());
  });
  const inputs = fingerprint(['pkg/src', 'pkg/package.json', 'pkg/tsconfig.json', 'pkg/wasm', 'pkg/core/wasm', 'pkg/testing/wasm', 'package-lock.json']);
  await unlessUpToDate('package', inputs, ['pkg/dist', 'pkg/core/dist'], async () => {
    const [command, args] = npm('run', 'build', '-w', 'pkg');
    await step({ what: 'Compiling the TypeScript layer', usual: '5 s', log: 'package', command, args, tail: 40 });
    // The same files over the other module: what they import as `../wasm/` lies beside them there too.
    const core = join(root, 'pkg/core/dist');
    rmSync(core, { recursive: true, force: true });
    mkdirSync(core, { recursive: true });
    for (const file of readdirSync(join(root, 'pkg/dist'))) if (!VOICE.test(file) && !ADAPTERS.test(file)) copyFileSync(join(root, 'pkg/dist', file), join(core, file));
  });
}

/** The demo page, from the package as it is. */
export async function buildPage() {
  const sources = readdirSync(join(root, 'www')).filter((name) => name !== 'dist' && name !== 'node_modules').map((name) => join('www', name));
  const inputs = fingerprint([...sources, 'pkg/dist', 'pkg/wasm', 'package-lock.json']);
  await unlessUpToDate('page', inputs, ['www/dist/index.html'], async () => {
    const [command, args] = npm('run', 'build', '-w', 'www');
    await step({ what: 'Building the page', usual: '5 s', log: 'page', command, args, tail: 40 });
  });
}
