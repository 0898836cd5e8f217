// What an operator sees of a screen whose process is stopped: the device is there, its kernel takes what is sent.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { folder, run, startRelay, until } from './kit.mjs';

const SCREEN = `
  import { WebSocket } from 'ws';
  const [url, token, name] = process.argv.slice(1);
  const socket = new WebSocket(url);
  const send = (frame) => socket.send(JSON.stringify(frame));
  socket.on('open', () => send({ type: 'auth', token, protocol: 'tautline.v1', sync: true, client: { name } }));
  setInterval(() => socket.readyState === 1 && send({ type: 'ping', payload: { timestamp: Date.now() } }), 1_000);
  socket.on('message', (data) => String(data).includes('auth:success') && console.log('live'));
`;

test('a screen that is stopped is named at the first look, and is well when it goes on', async (t) => {
  const relay = await startRelay(t);
  const token = relay.token('manager');
  const home = folder(t);
  const screen = (name) => {
    const child = run(process.execPath, ['--input-type=module', '-e', SCREEN, `${relay.url.replace('http', 'ws')}/ws`, token, name], { log: join(home, name) });
    t.after(() => child.child.kill('SIGKILL'));
    return child;
  };
  const [stopped, going] = [screen('stopped'), screen('going')];
  for (const { logs } of [stopped, going]) await until('it is live', () => logs().includes('live'));
  const stalled = async () => {
    const answer = await fetch(`${relay.url}/api/v1/sessions`, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 200);
    const { sessions } = await answer.json();
    return Object.fromEntries(sessions.map(({ client, stalled }) => [client.name, stalled]));
  };
  assert.deepEqual(await stalled(), { stopped: false, going: false });
  stopped.child.kill('SIGSTOP');
  for (let n = 0; n < 3; n += 1) await relay.post();
  await until('it is named', async () => (await stalled()).stopped);
  assert.deepEqual(await stalled(), { stopped: true, going: false });
  stopped.child.kill('SIGCONT');
  await until('it is well', async () => !(await stalled()).stopped);
});
