// Fan-out: few publish, many listen. Our relay, durable and with tokens, beside servers that do nothing but broadcast.

import { setTimeout as delay } from 'node:timers/promises';
import { buildRelay } from '../scripts/lib/build.mjs';
import { bench } from './lib/bench.mjs';
import { barChart } from './lib/chart.mjs';
import { machine } from './lib/machine.mjs';
import { residentBytes } from './lib/process.mjs';
import { alternate, figure, ratio, spread } from './lib/rounds.mjs';
import { buildLoad, load, startBun, startRelay, startWs, versions } from './lib/servers.mjs';
import { number, spreadText, table, verdict } from './lib/table.mjs';

const EVENT_BYTES = 1024;
const AHEAD = 64;
const PUBLISHERS = 16;
const IDLE = 9_000;
/** Events of one request to the relay when it is saturated: a back end with several at hand sends them together. */
const IN_A_REQUEST = 32;

const NAMES = { ours: 'Tautline', v1: 'Tautline, `tautline.v1`', bun: 'Bun', ws: 'Node `ws`' };

let program;
const STARTS = {
  ours: () => startRelay(program),
  v1: () => startRelay(program, { dialect: 'v1' }),
  bun: startBun,
  ws: startWs,
};

/** One run on a fresh server. */
async function run(name, { subscribers, seconds, rate }) {
  const server = await STARTS[name]();
  try {
    const [measured] = await load({
      mode: 'fanout',
      server: { address: server.address, pid: server.pid, relay: server.relay ?? null },
      subscribers,
      publishers: PUBLISHERS,
      in_flight: 64,
      ahead: AHEAD,
      batch: server.relay && !rate ? IN_A_REQUEST : 1,
      bytes: EVENT_BYTES,
      rate: rate ?? null,
      warm_up_s: 1,
      seconds,
    });
    return { ...measured, us_per_delivery: (measured.cpu_s / measured.deliveries) * 1e6 };
  } finally {
    await server.stop();
  }
}

/** Resident bytes of an idle connection. */
async function idle(name) {
  const server = await STARTS[name]();
  try {
    // Its first connections make it set up what all will use.
    const plan = (connections, seconds) => ({
      mode: 'idle',
      server: { address: server.address, pid: server.pid, relay: server.relay ?? null },
      connections,
      seconds,
    });
    await load(plan(64, 0.5));
    await delay(500);
    const before = residentBytes(server.pid);
    let after;
    await load(plan(IDLE, 3), {
      onLine: () => setTimeout(() => (after = residentBytes(server.pid)), 2_000),
    });
    return { bytes: (after - before) / IDLE };
  } finally {
    await server.stop();
  }
}

/** Each of the contenders in turn; a line for each, so that whoever waits sees something. */
async function rounds(what, names, options, measure) {
  const contenders = Object.fromEntries(names.map((name) => [name, () => measure(name)]));
  return alternate(contenders, options.rounds, (name, round, one) => {
    const said = Object.entries(one).filter(([, value]) => Number.isFinite(value)).map(([key, value]) => `${key} ${number(value)}`);
    console.log(`${what}, round ${round + 1}, ${NAMES[name]}: ${said.join(', ')}`);
  });
}

/** The rows of one load. */
function saturated(measured, names) {
  const head = ['', 'deliveries per CPU second', 'times Bun', 'p50 ms', 'p99 ms', 'deliveries per second', 'CPU of it in the kernel'];
  const rows = names.map((name) => [
    NAMES[name],
    spreadText(figure(measured, name, 'per_cpu_s')),
    name === 'bun' ? '1' : spreadText(ratio(measured, 'per_cpu_s', name, 'bun')),
    spreadText(figure(measured, name, 'p50_ms')),
    spreadText(figure(measured, name, 'p99_ms')),
    number(figure(measured, name, 'per_s').median),
    `${number(100 * spread(measured[name].map((one) => one.system_s / one.cpu_s)).median)} %`,
  ]);
  return table(head, rows);
}

/** Where the relay's CPU time went, by its threads. */
function profile(measured) {
  const per = (one, seconds) => (seconds / one.events) * 1e6;
  const names = [...new Set(measured.flatMap((one) => Object.keys(one.threads)))];
  const what = { shard: 'judging and delivering', 'store-write': 'SQLite', 'tautline-relay': 'HTTP' };
  const rows = names
    .map((name) => ({ name, figure: spread(measured.map((one) => per(one, one.threads[name] ?? 0))) }))
    .filter(({ figure }) => figure.median > 0.1)
    .sort((a, b) => b.figure.median - a.figure.median)
    .map(({ name, figure }) => [`\`${name}\`${what[name] ? `: ${what[name]}` : ''}`, spreadText(figure)]);
  return table(['thread of the relay', 'µs of CPU per event'], rows);
}

/** Deliveries alone, without HTTP and the store, beside all that the other server does: what is left to win. */
function deliveriesAlone(measured) {
  return spread(measured.ours.map((one, round) => {
    const shard = one.threads.shard / one.deliveries;
    const bun = measured.bun[round].cpu_s / measured.bun[round].deliveries;
    return bun / shard;
  }));
}

await bench('fanout', { rounds: 3, seconds: 5, only: '' }, async (options) => {
  program = await buildRelay();
  await buildLoad();
  const { seconds } = options;
  const wants = (what) => options.only === '' || options.only.split(',').includes(what);
  const said = machine(...(await versions()));
  const results = {};
  const parts = [];
  const targets = [];
  const groups = [];
  const bars = (measured, names, key, text) =>
    names.map((name) => {
      const { median, min, max } = figure(measured, name, key);
      return { name: NAMES[name].replaceAll('`', ''), value: median, min, max, text: text(median) };
    });

  for (const [what, subscribers, least] of [['1000', 1000, 1.3], ['100', 100, 1.2]]) {
    if (!wants(what)) continue;
    const names = ['ours', 'bun', 'ws', 'v1'];
    const measured = await rounds(`${subscribers} subscribers, saturated`, names, options, (name) => run(name, { subscribers, seconds }));
    results[what] = measured;
    parts.push(`**${number(subscribers)} subscribers, saturated**\n\n${saturated(measured, names)}`);
    const all = (name) => spreadText(spread(measured[name].map((one) => (one.cpu_s / one.events) * 1e6)));
    parts.push(`Where it goes at ${number(subscribers)}: an event costs the relay ${all('ours')} µs of CPU in all, Bun's server ${all('bun')}.\n\n${profile(measured.ours)}

The thread that delivers, by itself, is ${spreadText(deliveriesAlone(measured))} times Bun: the rest is the synced store and the HTTP of whoever publishes, which Bun's server has none of.`);
    const times = ratio(measured, 'per_cpu_s', 'ours', 'bun');
    targets.push(
      [`deliveries per CPU second at ${number(subscribers)}, times Bun`, spreadText(times), verdict(times, { least })],
      [`the same, times \`ws\``, spreadText(ratio(measured, 'per_cpu_s', 'ours', 'ws')), verdict(ratio(measured, 'per_cpu_s', 'ours', 'ws'), { least: 10 })],
      [`p99 at ${number(subscribers)}, times Bun's`, spreadText(ratio(measured, 'p99_ms', 'ours', 'bun')), verdict(ratio(measured, 'p99_ms', 'ours', 'bun'), { most: 1 })],
    );
    groups.push({ name: `${subscribers} subscribers: deliveries per CPU second`, bars: bars(measured, names, 'per_cpu_s', number) });
  }

  if (wants('open')) {
    const names = ['ours', 'bun', 'ws'];
    const measured = await rounds('1 000 subscribers, 100 events/s', names, options, (name) => run(name, { subscribers: 1000, seconds, rate: 100 }));
    const head = ['', 'µs of CPU per delivery', 'deliveries per CPU second, times Bun', 'p50 ms', 'p99 ms'];
    const rows = names.map((name) => [
      NAMES[name],
      spreadText(figure(measured, name, 'us_per_delivery')),
      name === 'bun' ? '1' : spreadText(ratio(measured, 'per_cpu_s', name, 'bun')),
      spreadText(figure(measured, name, 'p50_ms')),
      spreadText(figure(measured, name, 'p99_ms')),
    ]);
    parts.push(`**1 000 subscribers, 100 events a second, whatever has arrived**\n\n${table(head, rows)}`);
    parts.push(`Where it goes in the open loop, ${number(100 * spread(measured.ours.map((one) => one.system_s / one.cpu_s)).median)} % of it in the kernel, where each delivery is a \`send\` of its own (${number(100 * spread(measured.bun.map((one) => one.system_s / one.cpu_s)).median)} % of Bun's):\n\n${profile(measured.ours)}

The thread that delivers, by itself, is ${spreadText(deliveriesAlone(measured))} times Bun.`);
    const times = ratio(measured, 'per_cpu_s', 'ours', 'bun');
    targets.push(
      ['deliveries per CPU second in the open loop, times Bun', spreadText(times), verdict(times, { least: 1 })],
      ["p99 in the open loop, times Bun's", spreadText(ratio(measured, 'p99_ms', 'ours', 'bun')), verdict(ratio(measured, 'p99_ms', 'ours', 'bun'), { most: 1 })],
    );
    groups.push({ name: '100 events/s to 1000: µs of CPU per delivery', bars: bars(measured, names, 'us_per_delivery', number) });
  }

  if (wants('idle')) {
    const names = ['ours', 'bun', 'ws'];
    const measured = await rounds(`${number(IDLE)} idle connections`, names, { rounds: Math.min(options.rounds, 2) }, idle);
    const rows = names.map((name) => [NAMES[name], spreadText(figure(measured, name, 'bytes'))]);
    parts.push(`**${number(IDLE)} idle connections** (ours authenticated and placed in a log)\n\n${table(['', 'resident bytes a connection'], rows)}`);
    const bytes = figure(measured, 'ours', 'bytes');
    targets.push(['bytes of an idle connection', spreadText(bytes), verdict(bytes, { most: 4096 })]);
    groups.push({ name: 'resident bytes of an idle connection', bars: bars(measured, names, 'bytes', number) });
  }

  const text = `## Fan-out

${said}. ${options.rounds} rounds of ${seconds} s after 1 s of warm-up${wants('idle') ? ` (idle connections: ${Math.min(options.rounds, 2)} rounds)` : ''}, a fresh server for each; the server on one core, the load on the other.

Events are ${number(EVENT_BYTES)} bytes as they arrive, plain dialect, one WebSocket frame each (\`tautline.v1\`: a turn is one array). ${PUBLISHERS} connections publish,
each with at most 64 events under way, and no more than ${AHEAD} events are ahead of the slowest subscriber. Every delivery is counted and timed
from the moment its event was sent; a lost or doubled one ends the run. CPU is \`utime\` + \`stime\` of the server's process.

The relay stores every event with a synced commit before anyone is shown it, and checks tokens on both sides; its publishers are back ends with
\`service\` tokens on keep-alive HTTP, ${IN_A_REQUEST} events a request when saturated, one in the open loop. Bun (\`publish\` to a topic) and \`ws\` (a loop) pass on the
messages of a publishing socket: no store, no tokens, no answers.

${table(['target', 'reached, median (least–most)', ''], targets)}

${parts.join('\n\n')}

![Fan-out](charts/fanout.svg)`;
  return { text, charts: { fanout: barChart({ title: 'Fan-out, relay beside servers that only broadcast', groups }) } };
});
