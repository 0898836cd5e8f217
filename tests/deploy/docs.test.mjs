// docs/operations.md against the program it describes.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { program, root } from './kit.mjs';

const page = readFileSync(join(root, 'docs/operations.md'), 'utf8');
const help = (...command) => {
  const { status, stdout, stderr } = spawnSync(program, [...command, '--help'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
};
const commands = [...help().matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name).filter((name) => name !== 'help');
/** Flags that a command takes, not those its help mentions. */
const flagsOf = (command) => [...help(command).matchAll(/^ +(?:-[a-z], )?--([a-z][a-z-]+)/gm)].map(([, name]) => name).filter((name) => name !== 'help');

test('every flag of every command is on the page, and no other', () => {
  assert.ok(commands.length >= 7, commands.join());
  const known = new Set(commands.flatMap(flagsOf));
  const named = new Set([...page.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)].map(([, name]) => name));
  for (const flag of known) assert.ok(named.has(flag), `--${flag} is not on the page`);
  for (const flag of named) assert.ok(known.has(flag), `the page names --${flag}, which no command takes`);
});

test('the table of flags is that of serve, with its defaults', () => {
  const table = /## Flags of `serve`[\s\S]*?\n\n(\|[\s\S]*?)\n\n/.exec(page)[1];
  const [first] = [table.split('\n').filter((line) => line.startsWith('| `--')).map((line) => line.split(/(?<!\\)\|/)[1])];
  const inTable = first.flatMap((cell) => [...cell.matchAll(/--([a-z][a-z-]+)/g)].map(([, name]) => name)).sort();
  assert.deepEqual(inTable, flagsOf('serve').sort());
  const defaultOf = new Map(help('serve').split(/^ +(?:-[a-z], )?--(?=[a-z])/m).slice(1).map((block) =>
    [/^[a-z-]+/.exec(block)[0], /\[default: ([^\]]+)\]/.exec(block.replace(/\s+/g, ' '))?.[1]]));
  let compared = 0;
  for (const line of table.split('\n')) {
    const [, flags, defaults] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    const names = [...(flags ?? '').matchAll(/--([a-z][a-z-]+)/g)].map(([, name]) => name);
    const values = defaults?.split(', ');
    if (names.length !== values?.length) continue;
    names.forEach((name, index) => {
      const said = defaultOf.get(name);
      if (!said) return;
      compared += 1;
      assert.equal(values[index], said, `--${name}`);
    });
  }
  assert.ok(compared >= 12, `${compared} defaults compared`);
});

test('every command line on the page is one the program would take', () => {
  const lines = [...page.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block]) => block.split('\n')).filter((line) => line.startsWith('tautline-relay '));
  assert.ok(lines.length >= 8);
  for (const line of lines) {
    const [, command] = line.split(' ');
    assert.ok(commands.includes(command), line);
    const known = flagsOf(command);
    for (const [, flag] of line.matchAll(/--([a-z][a-z-]+)/g)) assert.ok(known.includes(flag), `${line}: --${flag}`);
  }
  for (const command of commands) assert.ok(page.includes(`\`${command}\``) || page.includes(`tautline-relay ${command}`), command);
});

test('every link of the page leads somewhere', () => {
  const anchors = (text) => new Set([...text.matchAll(/^#+ (.*)$/gm)].map(([, title]) => title.toLowerCase().replace(/[^\w\s-]/g, '').replace(/ /g, '-')));
  for (const [, target] of page.matchAll(/\]\(([^)]+)\)/g)) {
    const [path, anchor] = target.split('#');
    const file = path ? join(root, 'docs', path) : join(root, 'docs/operations.md');
    assert.ok(existsSync(file), target);
    if (anchor) assert.ok(anchors(readFileSync(file, 'utf8')).has(anchor), target);
  }
});
