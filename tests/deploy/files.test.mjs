// The files of deploy/ against the programs that read them, and against the relay they start.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { deploy, edited, folder, program, root, startRelay, tool } from './kit.mjs';

const help = (...command) => {
  const { status, stdout, stderr } = spawnSync(program, [...command, '--help'], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  return stdout;
};
const text = (path) => readFileSync(join(root, path), 'utf8');
const flags = (of) => new Set([...of.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)].map(([, name]) => name));

test('Dockerfile: what it copies is there, what it sets is known', () => {
  const file = deploy('Dockerfile').replaceAll('\\\n', ' ');
  const instructions = file.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.trim());
  const known = ['FROM', 'RUN', 'WORKDIR', 'COPY', 'USER', 'VOLUME', 'ENV', 'EXPOSE', 'STOPSIGNAL', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'];
  for (const line of instructions) assert.ok(known.includes(line.split(' ')[0]), line);
  const of = (name) => instructions.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1).trim());
  for (const copy of of('COPY')) {
    const words = copy.split(/\s+/).filter((word) => !word.startsWith('--'));
    for (const source of words.slice(0, -1)) {
      if (copy.startsWith('--from=build')) assert.match(source, /^\/src\/target\/release\/tautline-relay$/);
      else assert.ok(existsSync(join(root, source)), source);
    }
  }
  assert.deepEqual([of('FROM').length, of('USER')], [2, ['10001:10001']], 'two stages, not as root');
  const rust = /channel = "([\d.]+)"/.exec(text('rust-toolchain.toml'))[1];
  assert.match(of('FROM')[0], new RegExp(`^rust:${rust.split('.').slice(0, 2).join('\\.')}`));
  const variables = [...of('ENV')[0].matchAll(/(TAUTLINE_[A-Z_]+)=/g)].map(([, name]) => name);
  assert.ok(variables.length >= 4);
  const twins = help('serve');
  for (const name of [...variables, ...[...file.matchAll(/TAUTLINE_[A-Z_]+/g)].flat()]) assert.ok(twins.includes(`${name}=`) || twins.includes(`${name}]`), `${name} is no twin of a flag`);
  // Nothing the build needs is kept from it.
  const ignored = text('.dockerignore').split('\n').filter(Boolean);
  for (const path of ['Cargo.toml', 'Cargo.lock', 'crates', 'src', 'xtask', 'rust-toolchain.toml', '.cargo']) {
    assert.ok(existsSync(join(root, path)) && !ignored.includes(`/${path}`), path);
  }
});

test('Dockerfile: its health check tells a relay from none', async (t) => {
  const [, command] = /HEALTHCHECK[^\n]*\\\n\s*CMD (\[.*\])/.exec(deploy('Dockerfile'));
  const [shell, ...args] = JSON.parse(command);
  const relay = await startRelay(t);
  const check = (port) => spawnSync(shell, args.map((arg) => arg.replaceAll('8787', String(port))), { encoding: 'utf8' });
  const well = check(relay.port);
  assert.equal(well.status, 0, well.stderr);
  assert.equal(await relay.stop(), 0);
  assert.notEqual(check(relay.port).status, 0);
});

test('systemd unit: systemd takes it, and its flags are the relay\'s', (t) => {
  const unit = join(folder(t), 'tautline-relay.service');
  writeFileSync(unit, edited(deploy('tautline-relay.service'), [['/usr/local/bin/tautline-relay', program]]));
  const verified = spawnSync(tool('systemd-analyze'), ['verify', '--man=no', unit], { encoding: 'utf8' });
  assert.deepEqual([verified.status, verified.stderr], [0, ''], verified.stderr);
  const known = flags(help('serve'));
  const [, started] = /^ExecStart=\S+ serve (.*)$/m.exec(deploy('tautline-relay.service'));
  const used = flags(started);
  assert.ok(used.size >= 3);
  for (const flag of used) assert.ok(known.has(flag), flag);
});

test('proxy files: the relay flags they name exist', () => {
  const known = flags(help('serve'));
  for (const name of ['nginx.conf', 'haproxy.cfg', 'Caddyfile']) {
    const [, named] = /# The relay: (.*)/.exec(deploy(name));
    for (const flag of flags(named)) assert.ok(known.has(flag), `${name}: --${flag}`);
  }
});

test('proxy files: each is valid as it stands, certificates and all', (t) => {
  const home = folder(t);
  const [pem, key] = [join(home, 'relay.example.pem'), join(home, 'relay.example.key')];
  const made = spawnSync(tool('openssl'), [
    'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=relay.example', '-keyout', key, '-out', pem,
  ], { encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  const both = join(home, 'both.pem');
  writeFileSync(both, readFileSync(pem, 'utf8') + readFileSync(key, 'utf8'));
  const check = (name, ...args) => {
    const { status, stdout, stderr } = spawnSync(tool(name), args, { encoding: 'utf8', env: { ...process.env, HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home } });
    assert.equal(status, 0, `${name}: ${stdout}${stderr}`);
    assert.doesNotMatch(stdout + stderr, /\[(warn|WARNING)\]/i, name);
  };
  const config = (name, body) => {
    const path = join(home, name);
    writeFileSync(path, body);
    return path;
  };
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${home}/${name};`).join('\n');
  const nginx = edited(deploy('nginx.conf'), [['/etc/ssl/relay.example.pem', pem], ['/etc/ssl/relay.example.key', key]]);
  check('nginx', '-t', '-e', 'stderr', '-p', home, '-c', config('nginx.conf', `pid ${home}/pid;\nevents {}\nhttp {\naccess_log off;\n${temporary}\n${nginx}\n}\n`));
  check('haproxy', '-c', '-f', config('haproxy.cfg', edited(deploy('haproxy.cfg'), [['/etc/ssl/relay.example.pem', both]])));
  check('caddy', 'validate', '--adapter', 'caddyfile', '--config', config('Caddyfile', deploy('Caddyfile')));
});

test('alert rules: Prometheus takes them, and the relay has every metric they ask for', async (t) => {
  const checked = spawnSync(tool('promtool'), ['check', 'rules', join(root, 'deploy/alerts.yml')], { encoding: 'utf8' });
  assert.equal(checked.status, 0, checked.stdout + checked.stderr);
  const names = new Set([...deploy('alerts.yml').matchAll(/\b((?:tautline|process)_[a-z_]+)/g)].map(([, name]) => name));
  assert.ok(names.size >= 10);
  // The page has every metric of the relay and no other (crates/relay/tests/relay/metrics.rs).
  const page = text('docs/operations.md');
  for (const name of names) assert.match(page, new RegExp(`\`${name.replace(/_bucket$/, '')}[\`{]`), name);
});
