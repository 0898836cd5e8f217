// The package as npm gives it to its users: packed, and installed where nothing of this repository is around it.

import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const here = fileURLToPath(new URL('.', import.meta.url));
const pkg = fileURLToPath(new URL('../../pkg', import.meta.url));

/** Files linked rather than copied, where the folders are on one disk. */
export async function link(from, to) {
  await run('cp', ['-alf', `${from}/.`, to]).catch(() => run('cp', ['-af', `${from}/.`, to]));
}

/**
 * Packs the package and installs it, with nothing of this repository around it: a folder that every project is a copy of.
 * What builds the projects lies beside it.
 */
export async function pack() {
  const home = await mkdtemp(join(tmpdir(), 'tautline-packed-'));
  const remove = () => rm(home, { recursive: true, force: true });
  try {
    const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', home], { cwd: pkg });
    const [{ filename }] = JSON.parse(stdout);
    const project = join(home, 'project');
    await mkdir(project);
    await writeFile(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
    await run('npm', ['install', '--offline', '--ignore-scripts', '--no-audit', '--no-fund', join(home, filename)], { cwd: project });
    await link(join(here, 'node_modules'), join(project, 'node_modules'));
    return { home, tarball: join(home, filename), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
