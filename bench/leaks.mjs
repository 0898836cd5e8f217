// What is left in a page after clients were made, connected and let go of: listeners, heap, wasm memory.

import { bench } from './lib/bench.mjs';
import { heapBytes, metric, openPage } from './lib/browser.mjs';
import { barChart } from './lib/chart.mjs';
import { machine } from './lib/machine.mjs';
import { number, table } from './lib/table.mjs';

const json = (socket, value) => socket.send(JSON.stringify(value));
/** Small servers: enough of each protocol to let a client in and out. */
const servers = {
  bare() {},
  partysocket() {},
  tautline(socket) {
    json(socket, { type: 'connected', auth_required: true });
    socket.on('message', (data) => {
      if (JSON.parse(data).type === 'auth') json(socket, { type: 'auth:success', protocol: 'tautline.v1', epoch: 'e', seq: 0, resumed: false });
    });
  },
  phoenix(socket) {
    socket.on('message', (data) => {
      const [join, ref, topic] = JSON.parse(data);
      json(socket, [join, ref, topic, 'phx_reply', { status: 'ok', response: {} }]);
    });
  },
  centrifuge(socket) {
    socket.on('message', (data) => {
      for (const line of String(data).split('\n')) {
        const command = JSON.parse(line);
        if (command.connect) json(socket, { id: command.id, connect: { client: 'c', version: '0', ping: 25, pong: true } });
      }
    });
  },
  // socket.io over engine.io 4.
  'socket.io'(socket) {
    socket.send(`0${JSON.stringify({ sid: 's', upgrades: [], pingInterval: 25_000, pingTimeout: 20_000, maxPayload: 1_000_000 })}`);
    socket.on('message', (data) => {
      if (String(data).startsWith('40')) socket.send('40{"sid":"c"}');
    });
  },
  // ably connects at the root; 4 connected, 7 close, 8 closed.
  ''(socket) {
    const details = { connectionKey: 'k', connectionStateTtl: 120_000, maxIdleInterval: 15_000, maxMessageSize: 65_536, serverId: 's', clientId: null };
    json(socket, { action: 4, connectionId: 'c', connectionKey: 'k', connectionDetails: details });
    socket.on('message', (data) => {
      if (JSON.parse(data).action === 7) json(socket, { action: 8 });
    });
  },
};
const ALL = ['tautline', 'bare', 'phoenix', 'ably', 'centrifuge', 'socket.io', 'partysocket'];

/** Waits until nothing is on its way any more: the last sockets have reported their end. */
async function settled(tab) {
  let before = Infinity;
  for (let n = 0; n < 40; n += 1) {
    await tab.page.waitForTimeout(100);
    await heapBytes(tab.devtools);
    const now = await metric(tab.devtools, 'JSEventListeners');
    if (now === before && n > 3) return now;
    before = now;
  }
  return before;
}

/** Listeners, heap and wasm memory beyond what one warm-up round has left. */
async function left(lab, name, count) {
  const tab = await lab.page();
  try {
    const run = (rounds) => tab.page.evaluate(([client, times]) => window.bench.rounds(client, times), [name, rounds]);
    // What is loaded once stays: only what grows counts.
    await run(1);
    const [listeners, heap, wasm] = [await settled(tab), await heapBytes(tab.devtools), await tab.page.evaluate(() => window.bench.wasmBytes())];
    await run(count);
    const after = { listeners: (await settled(tab)) - listeners, heap: (await heapBytes(tab.devtools)) - heap };
    return { ...after, wasm: (await tab.page.evaluate(() => window.bench.wasmBytes())) - wasm, held: await tab.page.evaluate(() => window.bench.held()) };
  } finally {
    await tab.close();
  }
}

await bench('leaks', { few: 20, many: 1_500, only: '' }, async ({ few, many, only }) => {
  const NAMES = ALL.filter((name) => name === 'tautline' || only === '' || only === name);
  const facts = machine();
  const lab = await openPage('leaks', servers);
  try {
    const measured = {};
    for (const name of NAMES) {
      measured[name] = { few: await left(lab, name, few), many: await left(lab, name, many) };
      console.log(`${name}: ${JSON.stringify(measured[name])}`);
    }
    const kb = (bytes) => number(bytes / 1000);
    const rows = NAMES.map((name) => {
      const { few: small, many: large } = measured[name];
      return [name, number(small.listeners), number(large.listeners), kb(small.heap), kb(large.heap), name === 'tautline' ? kb(large.wasm) : ''];
    });
    const { few: small, many: large } = measured.tautline;
    const clean = [small, large].every(({ listeners, held }) => listeners <= 0 && held === 0);
    const text = [
      `### What is left behind\n\nA client made, connected and let go of, ${number(few)} and ${number(many)} times: what the page has then beyond what one round had left, after a collection; \`npm run bench -- leaks --write\`.\n${facts}; Chromium ${lab.version}. Phoenix, ably, centrifuge, socket.io and partysocket against small scripted servers, each let go of by the method that its documentation names.`,
      table(['client', `listeners, ${number(few)} rounds`, `${number(many)} rounds`, `heap KB, ${number(few)} rounds`, `${number(many)} rounds`, `wasm KB, ${number(many)} rounds`], rows),
      `tautline leaves no listener and nothing on its ledger: ${clean ? 'so it is' : '**not so**'}.`,
      '![What is left behind](charts/leaks.svg)',
    ];
    const bars = (key, of, unit) => NAMES.map((name) => ({ name, value: Math.max(0, of(measured[name][key])), text: `${number(of(measured[name][key]))} ${unit}` }));
    const chart = barChart({
      title: 'What is left behind',
      groups: [
        { name: `Listeners after ${few} rounds`, bars: bars('few', ({ listeners }) => listeners, '') },
        { name: `Listeners after ${many} rounds`, bars: bars('many', ({ listeners }) => listeners, '') },
        { name: `Heap after ${many} rounds, KB`, bars: bars('many', ({ heap }) => heap / 1000, 'KB') },
      ],
    });
    return { text: text.join('\n\n'), charts: { leaks: chart } };
  } finally {
    await lab.close();
  }
});
