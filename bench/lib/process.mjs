// What a process has cost so far, as the kernel counts it.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

let ticks;
/** Units of `utime` in a second. */
function ticksPerSecond() {
  ticks ??= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return ticks;
}

/** CPU seconds of a process and its threads, its own (`user`) and the kernel's on its behalf (`system`). */
export function cpuSeconds(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  // The name in brackets may hold spaces.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [user, system] = [Number(fields[11]) / ticksPerSecond(), Number(fields[12]) / ticksPerSecond()];
  return { user, system, all: user + system };
}

/** Resident memory in bytes. */
export function residentBytes(pid) {
  const kb = readFileSync(`/proc/${pid}/status`, 'latin1').match(/VmRSS:\s+(\d+) kB/);
  if (!kb) throw new Error(`process ${pid} has no resident memory: has it ended?`);
  return Number(kb[1]) * 1024;
}
