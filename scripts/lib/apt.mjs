// Programs of the machine's, and those that Debian has: installed, or unpacked into a folder of ours without root.

import { accessSync, chmodSync, constants, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { Failure, step } from './run.mjs';

export const isRoot = process.getuid?.() === 0;

/** Where the program of that name is. */
export function onPath(name) {
  for (const folder of process.env.PATH.split(delimiter)) {
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder.
    }
  }
  return undefined;
}

export async function aptInstall(what, log, packages, failed) {
  const command = 'apt-get update && apt-get install -y --no-install-recommends ' + packages.join(' ');
  await step({ what: `Installing ${what} with apt-get`, usual: '1 min', log, command: 'sh', args: ['-c', command], failed });
}

/**
 * apt with folders of its own downloads packages and what they need, dpkg unpacks them; nothing outside `folder` is
 * written, no script of a package is run, so no service of one is started. A starter for each program is in `bin`.
 */
export async function unpack({ folder, packages, programs, what, usual, log, failed, environment = () => '' }) {
  rmSync(folder, { recursive: true, force: true });
  const part = `${folder}.part`;
  rmSync(part, { recursive: true, force: true });
  for (const name of ['lists/partial', 'cache/archives/partial', 'root']) mkdirSync(join(part, name), { recursive: true });
  const apt = [
    'apt-get', '-q', '-y', '-o', `Dir::State=${part}`, '-o', `Dir::State::lists=${part}/lists`, '-o', `Dir::Cache=${part}/cache`,
    '-o', 'Dir::State::status=/var/lib/dpkg/status', '-o', 'Debug::NoLocking=1', '-o', 'APT::Sandbox::User=root',
  ].map((word) => `'${word}'`).join(' ');
  const script = [
    'set -e',
    `${apt} update`,
    `${apt} --download-only --no-install-recommends install ${packages.join(' ')}`,
    // The C library must be the machine's own, or nothing else of the machine runs beside it.
    `for deb in '${part}'/cache/archives/*.deb; do case "$deb" in */libc6_*|*'*.deb') ;; *) dpkg -x "$deb" '${part}/root' ;; esac; done`,
    `rm -rf '${part}/cache' '${part}/lists'`,
  ].join('\n');
  await step({ what, usual, log, command: 'sh', args: ['-c', script], failed });

  const unpacked = join(folder, 'root');
  const libraries = ['usr/lib', 'lib'].flatMap((lib) => {
    if (!existsSync(join(part, 'root', lib))) return [];
    return readdirSync(join(part, 'root', lib)).filter((name) => name.endsWith('-linux-gnu')).map((name) => join(unpacked, lib, name));
  });
  mkdirSync(join(part, 'bin'));
  for (const [name, program] of programs) {
    // What the machine had already was not downloaded: then its own is meant.
    const target = existsSync(join(part, 'root', program)) ? join(unpacked, program) : onPath(name);
    if (!target) throw new Failure(`${failed}: the packages hold no ${name}.`);
    const path = join(part, 'bin', name);
    writeFileSync(path, `#!/bin/sh\nexport LD_LIBRARY_PATH='${libraries.join(':')}'\n${environment(unpacked)}exec '${target}' "$@"\n`);
    chmodSync(path, 0o755);
  }
  renameSync(part, folder);
}
