// From nothing to connected, wasm and all, beside a plain JavaScript client; and from a cut to current again.

import { bench } from './lib/bench.mjs';
import { openPage } from './lib/browser.mjs';
import { barChart } from './lib/chart.mjs';
import { machine } from './lib/machine.mjs';
import { alternate, figure, quantile, ratio } from './lib/rounds.mjs';
import { number, spreadText, table, verdict } from './lib/table.mjs';
import { buildRelay } from '../scripts/lib/build.mjs';
import { startProxy } from '../tests/e2e/harness/proxy.mjs';
import { startRelay } from '../tests/e2e/harness/relay.mjs';

/** Small servers, the same work for both: greet, take the token, let in. */
const servers = {
  tautline(socket) {
    socket.send(JSON.stringify({ type: 'connected', auth_required: true, heartbeat_ms: 30_000 }));
    socket.on('message', (data) => {
      if (JSON.parse(data).type === 'auth') socket.send(JSON.stringify({ type: 'auth:success', protocol: 'tautline.v1', epoch: 'e', seq: 0, resumed: false, expires_in_ms: 3_600_000 }));
    });
  },
  centrifuge(socket) {
    socket.on('message', (data) => {
      for (const line of String(data).split('\n')) {
        const command = JSON.parse(line);
        if (command.connect) socket.send(JSON.stringify({ id: command.id, connect: { client: 'c', version: '0', ping: 25, pong: true } }));
        if (command.subscribe) socket.send(JSON.stringify({ id: command.id, subscribe: {} }));
      }
    });
  },
};

/** A page that has nothing in its cache asks for the client and connects. */
const first = (lab, name) => async () => {
  const tab = await lab.page();
  try {
    return await tab.page.evaluate((client) => window.bench.first(client), name);
  } finally {
    await tab.page.evaluate(() => window.bench.close());
    await tab.close();
  }
};

/** Cuts the connection to a real relay while orders come, until the page shows what was posted during the cut. */
async function cuts(lab, count) {
  const relay = await startRelay({ program: process.env.TAUTLINE_RELAY_PROGRAM ?? (await buildRelay()), www: null, args: ['--allowed-origin', 'http://127.0.0.1:*'] });
  const proxy = await startProxy(relay.port);
  const tab = await lab.page();
  try {
    const token = await relay.token({ restaurant: 'grow', role: 'kitchen' });
    const times = [];
    for (let n = 0; n < count; n += 1) {
      // A connection of its own each time: one that is cut again and again backs off, as it should.
      await tab.page.evaluate(async ({ url, jwt }) => window.bench.keep(url, jwt), { url: `${proxy.url}/ws`, jwt: token });
      const back = tab.page.evaluate(() => window.bench.back());
      // The page's clock starts when it hears of the cut, and stops when it shows the order posted after that.
      await tab.page.evaluate(() => window.bench.armed);
      proxy.cut();
      const { id } = await relay.postOrder({}, { restaurant: 'grow' });
      await tab.page.evaluate((order) => window.bench.until(order), id);
      times.push(await back);
      await tab.page.evaluate(() => window.bench.close());
    }
    return times;
  } finally {
    await tab.close();
    await proxy.stop();
    await relay.stop();
  }
}

await bench('reconnect', { rounds: 15, cuts: 40 }, async ({ rounds, cuts: count }) => {
  const facts = machine();
  const lab = await openPage('reconnect', servers);
  try {
    const names = ['tautline', 'centrifuge'];
    const measured = await alternate(Object.fromEntries(names.map((name) => [name, first(lab, name)])), rounds, (name, round, one) => console.log(`${round + 1}/${rounds} ${name}: ${number(one.ms)} ms`));
    const times = ratio(measured, 'ms', 'tautline', 'centrifuge');
    const back = await cuts(lab, count);
    const [p50, p99] = [quantile(back, 0.5), quantile(back, 0.99)];
    const text = [
      `### Connecting and coming back\n\nA page with an empty cache asks for the client, loads it (tautline: its WebAssembly too) and is connected; \`npm run bench -- reconnect --write\`.\n${facts}; Chromium ${lab.version}; ${rounds} rounds.`,
      table(['first connect', 'ms', 'times centrifuge', 'target'], [
        ['tautline', spreadText(figure(measured, 'tautline', 'ms')), spreadText(times), verdict(times, { most: 1.2 })],
        ['centrifuge', spreadText(figure(measured, 'centrifuge', 'ms')), '1', ''],
      ]),
      `What it is made of, ms:\n\n${table(['', 'JavaScript loaded', 'WebAssembly fetched, compiled, started', 'socket open and let in'], names.map((name) => [name, ...['code', 'wasm', 'connect'].map((step) => (step in measured[name][0] ? spreadText(figure(measured, name, step)) : '–'))]))}`,
      `A cut of the connection to a real relay, until the page shows the order posted meanwhile (the default options; ${count} cuts, each of a connection that had held):`,
      table(['after a cut', 'ms', 'target'], [
        ['p50', number(p50), verdict({ median: p50 }, { most: 1_000 })],
        ['p99', number(p99), ''],
      ]),
      '![Connecting and coming back](charts/reconnect.svg)',
    ];
    const chart = barChart({
      title: 'Connecting and coming back',
      groups: [
        { name: 'First connect, ms (less is better)', bars: names.map((name) => ({ name, value: figure(measured, name, 'ms').median, ...figure(measured, name, 'ms'), text: `${number(figure(measured, name, 'ms').median)} ms` })) },
        { name: 'Current again after a cut, ms', bars: [['p50', p50], ['p99', p99]].map(([name, value]) => ({ name, value, text: `${number(value)} ms` })) },
      ],
    });
    return { text: text.join('\n\n'), charts: { reconnect: chart } };
  } finally {
    await lab.close();
  }
});
