// A relay as it is run in earnest (no --dev), a proxy before it, and a screen behind that.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const program = process.env.TAUTLINE_RELAY_PROGRAM ?? join(root, 'target/release/tautline-relay');
export const deploy = (name) => readFileSync(join(root, 'deploy', name), 'utf8');

/** Another program that the tests need; a missing one is a failure. */
export function tool(name) {
  const path = process.env[`TAUTLINE_${name.toUpperCase().replace('-', '_')}`];
  assert.ok(path, `${name} is not there: "npm test -- deploy" finds or fetches it`);
  return path;
}

export async function until(what, holds, ms = 30_000) {
  for (const deadline = Date.now() + ms; ; ) {
    const value = await holds();
    if (value) return value;
    assert.ok(Date.now() < deadline, `in vain: ${what}`);
    await delay(20);
  }
}

/** A port that was free a moment ago. */
export async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

const alive = new Set();
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

/** A program that lives until it is stopped; what it says is in `logs()`. */
export function run(command, args, { log, env = {} }) {
  const out = openSync(log, 'a');
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', out, out], env: { ...process.env, ...env } });
  closeSync(out);
  alive.add(child);
  child.ended = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(code ?? signal));
  });
  child.ended.then(() => alive.delete(child));
  return {
    child,
    logs: () => readFileSync(log, 'utf8'),
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      const late = setTimeout(() => child.kill('SIGKILL'), 15_000);
      const how = await child.ended;
      clearTimeout(late);
      return how;
    },
  };
}

/** A folder that goes with the test. */
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), 'tautline-deploy-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A relay that believes a proxy on this machine. */
export async function startRelay(t, args = []) {
  const home = folder(t);
  const secret = join(home, 'secret');
  writeFileSync(secret, randomBytes(48).toString('base64'), { mode: 0o600 });
  const log = join(home, 'relay.log');
  const all = ['serve', '--listen', '127.0.0.1:0', '--data-dir', join(home, 'data'), '--jwt-secret-file', secret, '--behind-proxy', '--trusted-proxy', '127.0.0.1', ...args];
  const relay = run(program, all, { log });
  t.after(() => relay.stop());
  const port = await until('the relay listens', () => {
    assert.ok(alive.has(relay.child), relay.logs());
    return Number(/listening on http:\/\/127\.0\.0\.1:(\d+)/.exec(relay.logs())?.[1]);
  });
  const url = `http://127.0.0.1:${port}`;
  const token = (role, sub = role) => {
    const made = spawnSync(program, ['token', '--jwt-secret-file', secret, '--restaurant', 'demo', '--role', role, '--sub', sub], { encoding: 'utf8' });
    assert.equal(made.status, 0, made.stderr);
    return made.stdout.trim();
  };
  const service = token('service');
  return {
    ...relay,
    port,
    url,
    token,
    /** Posts an order past the proxy, or through one. */
    async post(fields = {}, at = url) {
      const order = { type: 'dine-in', items: [{ menu_item_id: 'burger', name: 'Burger', quantity: 1, price: 9.5 }], ...fields };
      const answer = await fetch(`${at}/api/v1/restaurants/demo/orders`, {
        method: 'POST', headers: { authorization: `Bearer ${service}`, 'content-type': 'application/json' }, body: JSON.stringify(order),
      });
      assert.equal(answer.status, 201, await answer.clone().text());
      return answer.json();
    },
  };
}

/** Replaces text that must be there: a fragment that changed is a test that must be looked at. */
export function edited(text, changes) {
  return changes.reduce((now, [from, to]) => {
    assert.ok(now.includes(from), `"${from}" is no longer in the fragment`);
    return now.replaceAll(from, to);
  }, text);
}

/** nginx's and HAProxy's and Caddy's way of being started, reloaded and told where the relay is. */
export const PROXIES = {
  async nginx(t, relay, { idle }) {
    const home = folder(t);
    const port = await freePort();
    for (const name of ['body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']) mkdirSync(join(home, name));
    const ours = edited(deploy('nginx.conf'), [
      ['listen 443 ssl http2;', `listen 127.0.0.1:${port};`],
      ['    ssl_certificate     /etc/ssl/relay.example.pem;\n', ''],
      ['    ssl_certificate_key /etc/ssl/relay.example.key;\n', ''],
      ['server 127.0.0.1:8787;', `server 127.0.0.1:${relay.port};`],
      ['proxy_read_timeout 60s;', `proxy_read_timeout ${idle}s;`],
      ['proxy_send_timeout 60s;', `proxy_send_timeout ${idle}s;`],
    ]);
    const config = join(home, 'nginx.conf');
    writeFileSync(config, [
      'daemon off;', 'worker_processes 1;', `pid ${home}/pid;`, 'worker_shutdown_timeout 1s;', 'events { worker_connections 512; }', 'http {',
      'access_log off;', `client_body_temp_path ${home}/body;`, ...['proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${home}/${name};`), ours, '}',
    ].join('\n'));
    const proxy = run(tool('nginx'), ['-e', 'stderr', '-p', home, '-c', config], { log: join(home, 'log') });
    return { ...proxy, port, reload: () => proxy.child.kill('SIGHUP') };
  },
  async haproxy(t, relay, { idle }) {
    const home = folder(t);
    const port = await freePort();
    const config = join(home, 'haproxy.cfg');
    writeFileSync(config, edited(deploy('haproxy.cfg'), [
      ['bind :443 ssl crt /etc/ssl/relay.example.pem alpn http/1.1', `bind 127.0.0.1:${port}`],
      ['server relay 127.0.0.1:8787', `server relay 127.0.0.1:${relay.port}`],
      ['timeout tunnel 60s', `timeout tunnel ${idle}s`],
      ['hard-stop-after 30s', 'hard-stop-after 1s'],
    ]));
    const proxy = run(tool('haproxy'), ['-W', '-f', config, '-p', join(home, 'pid')], { log: join(home, 'log') });
    return { ...proxy, port, reload: () => proxy.child.kill('SIGUSR2') };
  },
  async caddy(t, relay) {
    const home = folder(t);
    const [port, admin] = [await freePort(), await freePort()];
    const config = join(home, 'Caddyfile');
    // 2.6 has the trusted ones in reverse_proxy; here 127.0.0.1 speaks for others, so that addresses can be tried.
    writeFileSync(config, edited(deploy('Caddyfile'), [
      ['relay.example {', `{\n\tadmin 127.0.0.1:${admin}\n}\n\nhttp://127.0.0.1:${port} {`],
      ['reverse_proxy 127.0.0.1:8787 {', `reverse_proxy 127.0.0.1:${relay.port} {\n\t\ttrusted_proxies 127.0.0.1/32`],
    ]));
    const env = { HOME: home, XDG_DATA_HOME: home, XDG_CONFIG_HOME: home };
    const proxy = run(tool('caddy'), ['run', '--config', config], { log: join(home, 'log'), env });
    const reload = () => {
      const done = spawnSync(tool('caddy'), ['reload', '--force', '--config', config, '--address', `127.0.0.1:${admin}`], { env: { ...process.env, ...env }, encoding: 'utf8' });
      assert.equal(done.status, 0, done.stderr);
    };
    return { ...proxy, port, reload };
  },
};

/** A proxy before a relay, up and answering. */
export async function startProxy(t, name, relay, options = {}) {
  const proxy = await PROXIES[name](t, relay, { idle: 60, ...options });
  t.after(() => proxy.stop());
  const url = `http://127.0.0.1:${proxy.port}`;
  await until(`${name} answers`, async () => {
    assert.ok(alive.has(proxy.child), proxy.logs());
    return fetch(`${url}/readyz`).then((answer) => answer.ok, () => false);
  });
  return { ...proxy, url, ws: `ws://127.0.0.1:${proxy.port}/ws` };
}
