// What the figures were measured on.

import { execFileSync } from 'node:child_process';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { root } from '../../scripts/lib/run.mjs';

function line(command, args) {
  try {
    return execFileSync(command, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  } catch {
    return undefined;
  }
}

/** One sentence of facts; `more` are the versions of what was compared. The load says whether it was alone. */
export function machine(...more) {
  const processors = cpus();
  const commit = line('git', ['rev-parse', '--short', 'HEAD']) ?? 'unknown';
  const changed = line('git', ['status', '--porcelain', '--untracked-files=no', '--', 'crates', 'src', 'pkg', 'Cargo.lock']);
  return [
    `${processors.length} × ${processors[0]?.model.trim() ?? 'unknown'}, ${Math.round(totalmem() / 2 ** 30)} GB, Linux ${release()}`,
    `Node ${process.versions.node}`,
    ...more,
    `commit ${commit}${changed ? ' with changes' : ''}`,
    `${new Date().toISOString().slice(0, 10)}`,
    `load average before ${loadavg()[0].toFixed(1)}`,
  ].join('; ');
}
