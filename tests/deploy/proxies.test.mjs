// The fragments of deploy/, each started for real before a real relay.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as client from 'tautline';
import { WebSocket } from 'ws';
import { PROXIES, startProxy, startRelay, until } from './kit.mjs';

globalThis.WebSocket = WebSocket;
client.initSync(readFileSync(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));

/** A screen behind a proxy, with what it was told. */
async function screen(t, url, relay) {
  const { service, orders, dispose } = await client.createTautline({
    url, restaurantId: 'demo', getToken: () => relay.token('manager'), reconnectInterval: 100, heartbeatInterval: 500,
  });
  const told = { created: [], closes: [], errors: [] };
  orders.onOrderUpdate(({ action, orderId }) => action === 'created' && told.created.push(orderId));
  service.on('disconnected', ({ code }) => told.closes.push(code));
  service.on('error', ({ code }) => told.errors.push(code));
  orders.initialize();
  t.after(dispose);
  await service.connect();
  return { service, orders, told };
}

/** A bare socket through a proxy; what became of it. */
function knock(url, headers) {
  const socket = new WebSocket(url, { headers });
  return new Promise((resolve) => {
    socket.once('open', () => resolve({ open: true, socket }));
    socket.once('unexpected-response', (_, response) => resolve({ open: false, status: response.statusCode, headers: response.headers }));
    socket.once('error', (error) => resolve({ open: false, error }));
  });
}

for (const name of Object.keys(PROXIES)) {
  test(`${name}: an upgrade, a large snapshot, commands, events as they come`, async (t) => {
    const relay = await startRelay(t);
    const proxy = await startProxy(t, name, relay);
    const many = 400;
    for (let n = 0; n < many; n += 20) {
      await Promise.all(Array.from({ length: 20 }, () => relay.post({ notes: 'x'.repeat(1_000) }, proxy.url)));
    }
    const { service, orders, told } = await screen(t, proxy.ws, relay);
    await until('the snapshot', () => orders.orders().length === many);
    assert.equal(service.stats().snapshots, 1);
    await orders.updateOrderStatus(orders.orders()[0].id, 'confirmed');
    const { id } = await relay.post({}, proxy.url);
    await until('the event', () => told.created.includes(id));
    assert.deepEqual([told.closes, told.errors], [[], []]);

    // The log as a stream of events: an answer that does not end.
    const abort = new AbortController();
    const stream = await fetch(`${proxy.url}/api/v1/restaurants/demo/events?after=${many + 2}`, {
      headers: { authorization: `Bearer ${relay.token('manager')}`, accept: 'text/event-stream' }, signal: abort.signal,
    });
    assert.equal(stream.status, 200);
    const reader = stream.body.getReader();
    const next = await relay.post({});
    let text = '';
    while (!text.includes(next.id)) text += new TextDecoder().decode((await reader.read()).value);
    abort.abort();
  });

  test(`${name}: idle for longer than its timeout, kept by heartbeats`, async (t) => {
    if (name === 'caddy') {
      // It has no timeout for a socket that was upgraded: there is only the heartbeat to see.
      const relay = await startRelay(t, ['--heartbeat', '500ms']);
      const proxy = await startProxy(t, name, relay);
      const { socket } = await knock(proxy.ws);
      await new Promise((pinged) => socket.once('ping', pinged));
      socket.terminate();
      return;
    }
    const lively = await startRelay(t, ['--heartbeat', '500ms']);
    const quiet = await startRelay(t, ['--heartbeat', '60s']);
    const [kept, cut] = [await startProxy(t, name, lively, { idle: 3 }), await startProxy(t, name, quiet, { idle: 3 })];
    const auth = (relay) => JSON.stringify({ type: 'auth', token: relay.token('manager') });
    const sockets = [await knock(kept.ws), await knock(cut.ws)].map(({ socket }) => socket);
    sockets[0].send(auth(lively));
    sockets[1].send(auth(quiet));
    const ended = sockets.map((socket) => new Promise((resolve) => socket.once('close', () => resolve('cut'))));
    // The timeout is in force: it ends the one whose relay says nothing.
    assert.equal(await ended[1], 'cut');
    await delay(4_000); // what is shown is that nothing happens for longer than the timeout
    assert.equal(sockets[0].readyState, WebSocket.OPEN);
    sockets[0].terminate();
  });

  test(`${name}: reloaded, clients come back and have missed nothing`, async (t) => {
    const relay = await startRelay(t);
    const proxy = await startProxy(t, name, relay);
    const { service, orders, told } = await screen(t, proxy.ws, relay);
    const posted = [];
    for (let n = 0; n < 5; n += 1) posted.push((await relay.post()).id);
    proxy.reload();
    for (const deadline = Date.now() + 3_000; Date.now() < deadline; ) {
      posted.push((await relay.post()).id);
      await delay(100);
    }
    // The old process lets go of the socket in the end; Caddy 2.6 hands it to nobody and keeps it.
    if (name !== 'caddy') await until('the cut', () => told.closes.length > 0);
    posted.push((await relay.post({}, await until('the proxy takes calls', () => fetch(`${proxy.url}/readyz`).then(() => proxy.url, () => '')))).id);
    await until('everything', () => service.isConnected() && posted.every((id) => told.created.includes(id)));
    assert.deepEqual(told.created.toSorted(), posted.toSorted(), 'each once');
    assert.equal(orders.orders().length, posted.length);
    assert.equal(service.stats().gaps, 0);
    // Whoever was cut went on where it was.
    assert.equal(service.stats().resumes, service.stats().connects - 1);
  });

  test(`${name}: the address it names is the one that is counted`, async (t) => {
    const relay = await startRelay(t, ['--max-per-address', '2']);
    const proxy = await startProxy(t, name, relay);
    const from = (address) => knock(proxy.ws, { 'x-forwarded-for': address });
    const two = [await from('203.0.113.7'), await from('203.0.113.7')];
    assert.deepEqual(two.map(({ open }) => open), [true, true]);
    const third = await from('203.0.113.7');
    assert.equal(third.status, 429);
    assert.ok(third.headers['retry-after'], 'the relay\'s own answer comes through');
    const other = await from('203.0.113.8');
    assert.equal(other.open, true, 'another address has its own');
    for (const { socket } of [...two, other]) socket.terminate();
  });
}
