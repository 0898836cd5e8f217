// What is compiled into the modules, under which licence and with whose notice: each of them asks to be named with what is made of it.

import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure, output, root } from './run.mjs';

const HEAD = `The WebAssembly modules of tautline (tautline_bg.wasm, the copy in inline.js, and that of tautline/testing) have these compiled into them.
Where one may be had under several licences, the one that was taken is MIT.
`;

/** Not among the crates that Cargo knows of. */
const STANDARD_LIBRARY = {
  title: 'The Rust standard library, with compiler-builtins, dlmalloc and hashbrown in it (MIT OR Apache-2.0), https://www.rust-lang.org',
  notice: 'Copyright (c) The Rust Project contributors',
};

/** What the modules are made from. */
const OURS = ['tautline', 'tautline-testing'];

/** The crates in the modules: what those depend on, and so on, but for what only runs while it is compiled. */
async function crates() {
  const text = await output('cargo', ['metadata', '--format-version', '1', '--locked', '--filter-platform', 'wasm32-unknown-unknown']);
  if (!text) throw new Failure('cargo cannot read the workspace: "cargo metadata" says why.');
  const { packages, resolve } = JSON.parse(text);
  const packageOf = new Map(packages.map((one) => [one.id, one]));
  const needs = new Map(resolve.nodes.map(({ id, deps }) => [id, deps.filter(({ dep_kinds: kinds }) => kinds.some(({ kind }) => kind === null)).map(({ pkg }) => pkg)]));
  const runsThere = (one) => !one.targets.some(({ kind }) => kind.includes('proc-macro'));
  const found = new Set(packages.filter(({ name, source }) => OURS.includes(name) && source === null));
  for (const one of found) for (const id of needs.get(one.id)) if (runsThere(packageOf.get(id))) found.add(packageOf.get(id));
  return [...found].filter(({ source }) => source !== null).sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** The texts of a crate's licences: MIT, under which all of them are to be had, and what holds beside it. */
function textsOf({ name, version, license, manifest_path: manifest }) {
  const whole = license ?? '';
  if (!/\bMIT\b/.test(whole) || / AND (?!Unicode-3\.0)/.test(whole)) {
    throw new Failure(`${name} ${version} is under "${whole}": scripts/lib/notices.mjs knows only what is to be had under MIT. Read that licence, then say there what it asks for.`);
  }
  const folder = dirname(manifest);
  const files = readdirSync(folder).filter((file) => /^licen[cs]e/i.test(file) && !/apache/i.test(file));
  return files.map((file) => readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n').trim());
}

/** The whole file. */
export async function notices() {
  const ours = readFileSync(join(root, 'LICENSE-MIT'), 'utf8');
  const mit = (notice) => ours.replace(/^Copyright.*$/m, notice).trim();
  /** Titles by their text: most of them share one. */
  const sections = new Map([[mit(STANDARD_LIBRARY.notice), [STANDARD_LIBRARY.title]]]);
  for (const crate of await crates()) {
    const { name, version, license, repository, authors } = crate;
    const texts = textsOf(crate);
    const text = texts.length > 0 ? texts.join('\n\n') : mit(`Copyright (c) ${authors.join(', ') || `the authors of ${name}`}`);
    const title = [`${name} ${version} (${license})`, repository].filter(Boolean).join(', ');
    sections.set(text, [...(sections.get(text) ?? []), title]);
  }
  return [HEAD, ...[...sections].map(([text, titles]) => `${'-'.repeat(80)}\n${titles.join('\n')}\n\n${text}\n`)].join('\n');
}
