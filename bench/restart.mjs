// A relay restarts under 1 000 clients: when is the last one current again?

import { rmSync } from 'node:fs';
import { buildRelay } from '../scripts/lib/build.mjs';
import { Failure } from '../scripts/lib/run.mjs';
import { bench } from './lib/bench.mjs';
import { barChart } from './lib/chart.mjs';
import { machine } from './lib/machine.mjs';
import { alternate, figure, quantile } from './lib/rounds.mjs';
import { buildLoad, load, startRelay, storeFolder } from './lib/servers.mjs';
import { number, spreadText, table } from './lib/table.mjs';

const KIND = 'bench:restarted';
const HOW = { planned: ['SIGTERM', 'told to restart (SIGTERM)'], killed: ['SIGKILL', 'killed (SIGKILL)'] };

let program;

/** An event that nobody has seen: whoever has it is current. */
async function publish(server) {
  const answer = await fetch(`http://${server.address}/api/v1/restaurants/bench/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.relay.service}`, 'content-type': 'application/json' },
    body: JSON.stringify({ type: KIND, payload: {} }),
  });
  if (answer.status !== 202) throw new Failure(`the event was answered ${answer.status}: ${await answer.text()}`);
  return Date.now();
}

/** One restart: times in seconds. */
async function restart(signal, clients) {
  const dataDir = await storeFolder();
  const options = { dialect: 'v1', dataDir };
  let server = await startRelay(program, options);
  try {
    const { port } = server;
    const back = [];
    let ready;
    const whenReady = new Promise((resolve) => (ready = resolve));
    const plan = { mode: 'restart', server: { address: server.address, pid: server.pid, relay: server.relay }, clients, kind: KIND, seconds: 120 };
    const loaded = load(plan, { onLine: (line) => (line.ready ? ready() : back.push(line.at_ms)) });
    await Promise.race([whenReady, loaded]);
    const asked = Date.now();
    await server.end(signal);
    const gone = Date.now();
    server = await startRelay(program, { ...options, port });
    const listening = Date.now();
    const published = await publish(server);
    await loaded;
    const since = (from) => back.map((at) => Math.max(0, at - from) / 1000);
    return {
      p50_s: quantile(since(asked), 0.5),
      last_s: Math.max(...since(asked)),
      last_after_listening_s: Math.max(...since(listening)),
      goodbye_s: (gone - asked) / 1000,
      start_s: (listening - gone) / 1000,
      published_s: (published - asked) / 1000,
    };
  } finally {
    await server.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

await bench('restart', { rounds: 3, clients: 1000 }, async ({ rounds, clients }) => {
  program = await buildRelay();
  await buildLoad();
  const said = machine();
  const contenders = Object.fromEntries(Object.entries(HOW).map(([name, [signal]]) => [name, () => restart(signal, clients)]));
  const measured = await alternate(contenders, rounds, (name, round, one) => {
    console.log(`${HOW[name][1]}, round ${round + 1}: ${Object.entries(one).map(([key, value]) => `${key} ${number(value)}`).join(', ')}`);
  });
  const rows = Object.entries(HOW).map(([name, [, what]]) => [
    what,
    ...['p50_s', 'last_s', 'last_after_listening_s', 'goodbye_s', 'start_s'].map((key) => spreadText(figure(measured, name, key))),
  ]);
  const head = ['the relay is', 'p50 s', 'last s', 'last, from when it listens again, s', 'its goodbye s', 'its start s'];
  const text = `## A relay restarts under ${number(clients)} clients

${said}; ${rounds} rounds of each.

Real client machines with their own backoff and seed, over real sockets, \`tautline.v1\`. The relay is ended, started again on the same port and
store, and an event is published as soon as it listens. A client is current when it has been given that event. Seconds from the moment the relay
was told to end: median (least–most). Told to restart, the relay gives each client its own moment to come back within 2 s (500 a second), and a
client may add a quarter; killed, clients spread over the window they were told at \`auth:success\`, then back off.

${table(head, rows)}

![Restart](charts/restart.svg)`;
  const groups = [['p50_s', 'half of the clients are current after (s)'], ['last_s', 'the last one is (s)']].map(([key, name]) => ({
    name,
    bars: Object.entries(HOW).map(([how, [, what]]) => {
      const { median, min, max } = figure(measured, how, key);
      return { name: what, value: median, min, max, text: `${number(median)} s` };
    }),
  }));
  return { text, charts: { restart: barChart({ title: `A relay restarts under ${clients} clients`, groups }) } };
});
