// One event through socket, client and one subscriber, in a page: what it costs the page's main thread.

import { bench } from './lib/bench.mjs';
import { heapBytes, mainThreadUs, openPage } from './lib/browser.mjs';
import { barChart } from './lib/chart.mjs';
import { machine } from './lib/machine.mjs';
import { alternate, figure, ratio } from './lib/rounds.mjs';
import { number, spreadText, table, verdict } from './lib/table.mjs';

const EPOCH = 'e-0193f6a1c2d4';
const NAMES = ['bare', 'tautline', 'partysocket', 'centrifuge'];
const TITLES = { bare: 'WebSocket + JSON.parse + switch', tautline: 'tautline', partysocket: 'partysocket', centrifuge: 'centrifuge' };

/** An event of about `bytes` bytes. */
function event(seq, bytes) {
  const frame = { type: 'order:created', payload: { order: { id: `o-${seq}` } }, seq, epoch: EPOCH };
  if (bytes > 400) {
    Object.assign(frame.payload.order, { restaurant_id: 'grow', type: 'dine-in', table_number: '12', status: 'new', payment_status: 'unpaid', created_at: '2026-01-05T12:00:00.000Z', updated_at: '2026-01-05T12:00:00.000Z' });
    Object.assign(frame, { restaurant_id: 'grow', command_id: `kds-${seq}`, timestamp: '2026-01-05T12:00:00.000Z' });
    frame.payload.order.items = [];
    for (let n = 0; JSON.stringify(frame).length < bytes - 150; n += 1) {
      frame.payload.order.items.push({ id: `i-${n}`, menu_item_id: 'burger', name: 'Burger with everything', quantity: 2, price: 9.5, subtotal: 19, status: 'pending', station: 'grill' });
    }
    frame.payload.order.notes = '';
    frame.payload.order.notes = 'x'.repeat(Math.max(0, bytes - JSON.stringify(frame).length));
  }
  return JSON.stringify(frame);
}

const link = { socket: undefined, seq: 0, opened: () => {} };
/** Small servers: enough of each client's protocol to let it in and give it events. */
const servers = {
  bare: (socket) => link.opened(socket),
  partysocket: (socket) => link.opened(socket),
  tautline(socket) {
    link.seq = 0;
    socket.send(JSON.stringify({ type: 'connected', auth_required: true, heartbeat_ms: 30_000, max_message: 65_536 }));
    socket.on('message', (data) => {
      const frame = JSON.parse(data);
      if (frame.type === 'auth') {
        socket.send(JSON.stringify({ type: 'auth:success', protocol: 'tautline.v1', epoch: EPOCH, seq: 0, resumed: false, expires_in_ms: 3_600_000 }));
        link.opened(socket);
      }
      if (frame.type === 'ping') socket.send(JSON.stringify({ type: 'pong', payload: { timestamp: frame.payload.timestamp, seq: link.seq } }));
    });
  },
  centrifuge(socket) {
    socket.on('message', (data) => {
      for (const line of String(data).split('\n')) {
        const command = JSON.parse(line);
        if (command.connect) socket.send(JSON.stringify({ id: command.id, connect: { client: 'c', version: '0', ping: 25, pong: true } }));
        if (command.subscribe) {
          socket.send(JSON.stringify({ id: command.id, subscribe: {} }));
          link.opened(socket);
        }
      }
    });
  },
};

/** The next events, as a client's server would frame them. */
function frames(name, count, bytes) {
  return Array.from({ length: count }, () => {
    const frame = event((link.seq += 1), bytes);
    return name === 'centrifuge' ? `{"push":{"channel":"orders","pub":{"data":${frame}}}}` : frame;
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Connects one client in a page of its own and runs `body` with it. */
async function connected(lab, name, body) {
  const tab = await lab.page();
  const socket = new Promise((resolve) => (link.opened = resolve));
  link.seq = 0;
  await tab.page.evaluate((client) => window.bench.open(client), name);
  link.socket = await socket;
  try {
    return await body(tab);
  } finally {
    await tab.page.evaluate(() => window.bench.close());
    await tab.close();
  }
}

/** Sends frames and waits until the page has delivered that many events; what its main thread ran for it. */
async function deliver({ page, devtools }, messages, events, { burst, everyMs }) {
  await page.evaluate((due) => window.bench.expect(due), events);
  const before = await mainThreadUs(devtools);
  for (let n = 0; n < messages.length; n += burst) {
    for (const message of messages.slice(n, n + burst)) link.socket.send(message);
    if (everyMs > 0) await pause(everyMs);
  }
  const { ms } = await page.evaluate(() => window.bench.delivered);
  return { us: ((await mainThreadUs(devtools)) - before) / events, perSecond: (events / ms) * 1000, ms };
}

/** Microseconds an event, events one by one. */
const oneByOne = (lab, bytes, events) => (name) => () =>
  connected(lab, name, async (tab) => {
    const paced = { burst: 50, everyMs: 4 };
    await deliver(tab, frames(name, 1_000, bytes), 1_000, paced);
    return deliver(tab, frames(name, events, bytes), events, paced);
  });

/** Events a second when they come faster than the page takes them; tautline's relay then sends arrays of 64. */
const flood = (lab, bytes, events) => (name) => () =>
  connected(lab, name, async (tab) => {
    const batched = (count) => {
      const all = frames(name, count, bytes);
      if (name !== 'tautline') return all;
      return Array.from({ length: Math.ceil(count / 64) }, (_, n) => `[${all.slice(n * 64, n * 64 + 64).join(',')}]`);
    };
    const all = { burst: Infinity, everyMs: 0 };
    await deliver(tab, batched(640), 640, all);
    return deliver(tab, batched(events), events, all);
  });

/** Heap and wasm memory along a long stream. */
async function memory(lab, events) {
  return connected(lab, 'tautline', async (tab) => {
    const rows = [];
    const steps = 5;
    for (let step = 0; step <= steps; step += 1) {
      if (step > 0) {
        // The first step warms up; only the others count.
        const each = Math.floor(events / steps / 64) * 64;
        for (let sent = 0; sent < each; sent += 6_400) {
          const count = Math.min(6_400, each - sent);
          const all = frames('tautline', count, 200);
          const batches = Array.from({ length: count / 64 }, (_, n) => `[${all.slice(n * 64, n * 64 + 64).join(',')}]`);
          await deliver(tab, batches, count, { burst: Infinity, everyMs: 0 });
        }
      }
      rows.push({ events: link.seq, heap: await heapBytes(tab.devtools), wasm: await tab.page.evaluate(() => window.bench.wasmBytes()) });
    }
    return rows;
  });
}

const WHERE = ['browser', 'script', 'wasm', 'collector'];
const WHERE_TITLES = { browser: 'the browser: socket, event, handing over the text', script: 'JavaScript, `JSON.parse` and the subscriber in it', wasm: 'WebAssembly and the way there and back', collector: 'garbage collector' };

/** Where a sample of the profiler belongs; idle time belongs nowhere. */
function whereIs({ functionName, url }) {
  if (functionName === '(idle)') return undefined;
  if (functionName === '(garbage collector)') return 'collector';
  if (functionName === '(program)' || functionName === '(root)') return 'browser';
  return url.includes('.wasm') || /^(js-to-wasm|wasm-to-js|wasm-function)/.test(functionName) ? 'wasm' : 'script';
}

/** Microseconds an event by where the main thread spends them; the profiler itself costs some. */
const profiled = (lab, bytes, events) => (name) => () =>
  connected(lab, name, async (tab) => {
    const paced = { burst: 50, everyMs: 4 };
    await deliver(tab, frames(name, 1_000, bytes), 1_000, paced);
    await tab.devtools.send('Profiler.enable');
    await tab.devtools.send('Profiler.setSamplingInterval', { interval: 100 });
    await tab.devtools.send('Profiler.start');
    await deliver(tab, frames(name, events, bytes), events, paced);
    const { profile } = await tab.devtools.send('Profiler.stop');
    const frameOf = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]));
    const us = Object.fromEntries(WHERE.map((where) => [where, 0]));
    profile.samples.forEach((id, n) => {
      const where = whereIs(frameOf.get(id));
      if (where) us[where] += profile.timeDeltas[n] / events;
    });
    return us;
  });

const each = (make) => Object.fromEntries(NAMES.map((name) => [name, make(name)]));

await bench('browser', { rounds: 9, events: 5_000, stream: 1_000_000 }, async ({ rounds, events, stream }) => {
  const facts = machine();
  const lab = await openPage('dispatch', servers);
  try {
    const told = (what) => (name, round, one) => console.log(`${what} ${round + 1}/${rounds} ${name}: ${number(one.us)} µs, ${number(one.perSecond)}/s`);
    const large = await alternate(each(oneByOne(lab, 1_200, events)), rounds, told('1.2 KB'));
    const small = await alternate(each(oneByOne(lab, 100, events)), rounds, told('100 B'));
    const flooded = await alternate(each(flood(lab, 1_200, 10_000)), rounds, told('10 000 at once'));
    const spent = await alternate(
      Object.fromEntries(['bare', 'tautline'].map((name) => [name, profiled(lab, 1_200, events)(name)])),
      Math.min(rounds, 5),
      (name, round, one) => console.log(`profile ${round + 1} ${name}: ${WHERE.map((where) => `${where} ${number(one[where])}`).join(', ')} µs`),
    );
    const flat = stream > 0 ? await memory(lab, stream) : [];

    const rowOf = (measured, key, name, target) => {
      const times = ratio(measured, key, name, 'bare');
      return [TITLES[name], spreadText(figure(measured, name, key)), name === 'bare' ? '1' : spreadText(times), name === 'tautline' ? verdict(times, target) : ''];
    };
    const section = (head, measured, key, unit, target) => `${head}\n\n${table(['client', unit, 'times the bare one', 'target'], NAMES.map((name) => rowOf(measured, key, name, target)))}`;
    const mb = (bytes) => (bytes / 1e6).toFixed(2);
    const text = [
      `### Browser dispatch\n\nMain-thread time of a page for one event through socket, client and one subscriber; \`npm run bench -- dispatch --write\`.\n${facts}; Chromium ${lab.version}; ${rounds} rounds of ${number(events)} events.`,
      section('1.2 KB events, one by one:', large, 'us', 'µs an event', { most: 1.1 }),
      `Where the time goes, one by one, by the engine's own profiler (which costs some itself), µs an event:\n\n${table(['', TITLES.bare, TITLES.tautline], WHERE.map((where) => [WHERE_TITLES[where], ...['bare', 'tautline'].map((name) => spreadText(figure(spent, name, where)))]))}`,
      section('100-byte events, one by one:', small, 'us', 'µs an event', { most: 1.5 }),
      section('10 000 events of 1.2 KB that come faster than the page takes them (tautline.v1: arrays of 64, as its relay sends them):', flooded, 'perSecond', 'events a second', { least: 3 }),
    ];
    if (flat.length > 0) text.push(`Memory along ${number(stream)} events, after a collection:\n\n${table(['events', 'heap, MB', 'wasm, MB'], flat.map((row) => [number(row.events), mb(row.heap), mb(row.wasm)]))}`);
    text.push('![Browser dispatch](charts/dispatch.svg)');
    const bars = (measured, key, unit) => NAMES.map((name) => ({ name: TITLES[name], value: figure(measured, name, key).median, ...figure(measured, name, key), text: `${number(figure(measured, name, key).median)} ${unit}` }));
    const chart = barChart({
      title: 'One event in a page',
      groups: [
        { name: '1.2 KB, µs of main thread (less is better)', bars: bars(large, 'us', 'µs') },
        { name: '100 bytes, µs of main thread (less is better)', bars: bars(small, 'us', 'µs') },
        { name: '10 000 at once, events a second (more is better)', bars: bars(flooded, 'perSecond', '/s') },
      ],
    });
    return { text: text.join('\n\n'), charts: { dispatch: chart } };
  } finally {
    await lab.close();
  }
});
