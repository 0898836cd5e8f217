// A call: how soon it is there, beside the official client; what it costs the relay while it is held; what it adds to a page.

import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { buildPackage, buildRelay } from '../scripts/lib/build.mjs';
import { weigh } from '../scripts/lib/size.mjs';
import { bench } from './lib/bench.mjs';
import { openPage } from './lib/browser.mjs';
import { barChart } from './lib/chart.mjs';
import { machine } from './lib/machine.mjs';
import { residentBytes } from './lib/process.mjs';
import { alternate, figure, ratio, spread } from './lib/rounds.mjs';
import { buildLoad, load, startRelay } from './lib/servers.mjs';
import { number, spreadText, table, verdict } from './lib/table.mjs';
import { freePort, startUdpProxy } from '../tests/e2e/harness/udp.mjs';

const { dependencies } = JSON.parse(readFileSync(new URL('package.json', import.meta.url), 'utf8'));
const NAMES = { tautline: 'tautline', agents: `\`@openai/agents-realtime\` ${dependencies['@openai/agents-realtime']}`, bare: 'the browser alone' };
const CALLS = [1, 10, 50];
const TRANSPORTS = ['webrtc', 'websocket'];
const STEPS = [['microphone', 'microphone there'], ['offer', 'offer sent'], ['answer', 'answer there'], ['channel', 'settings sent'], ['ms', 'settings confirmed']];
const MOST_KB = 14;
/** Until a call whose packets stopped is heard again. */
const BACK_MS = 8_000;
/** How long a session that follows another may be out of hearing. */
const GAP_MS = 300;
/** Many calls of one person, one after the other. */
const ARGS = ['--rate-limit', '1000/s,burst=1000', '--allowed-origin', 'http://127.0.0.1:*'];
const MICROPHONE = ['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'];

async function post(server, path, token, body) {
  const answer = await fetch(`http://${server.address}${path}`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}: ${await answer.text()}`);
  return answer.json();
}

/** The first call of a page, and one more. */
const connect = (lab, server, name) => async () => {
  const tab = await lab.page();
  try {
    const { value: secret } = await post(server, '/v1/realtime/client_secrets', server.relay.token, {});
    const keys = { relay: `http://${server.address}`, token: server.relay.token, secret };
    const call = () => tab.page.evaluate(([client, with_]) => window.bench.call(client, with_), [name, keys]);
    const first = await call();
    return { ...first, first: first.ms, again: (await call()).ms };
  } finally {
    await tab.close();
  }
};

/** Cuts a call's packets, lets the next call's through, and waits until that one is heard. */
async function cut(program) {
  const udp = await freePort();
  const proxy = await startUdpProxy(udp);
  const server = await startRelay(program, { role: 'server', args: [...ARGS, '--voice-udp', `127.0.0.1:${udp}`, '--voice-public-ip', `127.0.0.1:${proxy.port}`] });
  const lab = await openPage('voice', {}, MICROPHONE);
  try {
    const { page } = await lab.page();
    await page.evaluate((keys) => window.bench.hold(keys), { relay: `http://${server.address}`, token: server.relay.token });
    const back = page.evaluate(() => window.bench.back());
    proxy.cut = true;
    await page.evaluate(() => window.bench.lost);
    proxy.cut = false;
    const times = await back;
    await page.evaluate(() => window.bench.end());
    return times;
  } finally {
    await lab.close();
    await server.stop();
    await proxy.stop();
  }
}

/** Calls over a transport whose sessions end every few seconds, each followed by another. */
async function rollovers(program, transport, times) {
  const server = await startRelay(program, { role: 'server', args: [...ARGS, '--session-max', '10s'] });
  const lab = await openPage('voice', {}, MICROPHONE);
  try {
    const { page } = await lab.page();
    const keys = { relay: `http://${server.address}`, token: server.relay.token };
    return await page.evaluate(([with_, over, n]) => window.bench.rollovers(with_, over, n), [keys, transport, times]);
  } finally {
    await lab.close();
    await server.stop();
  }
}

/** So many calls at once: processor time, and resident memory more than before them. */
const cost = (program, calls, { seconds }) => async () => {
  const server = await startRelay(program, { role: 'server', args: ARGS });
  try {
    const plan = (n, warmUp, time) => ({ mode: 'calls', server: { address: server.address, pid: server.pid, relay: server.relay }, calls: n, warm_up_s: warmUp, seconds: time });
    // Its first call makes it set up what all will use.
    await load(plan(1, 1, 0.1));
    await delay(500);
    const before = residentBytes(server.pid);
    let most = 0;
    const [, measured] = await load(plan(calls, 4, seconds), { onLine: () => (most = Math.max(most, residentBytes(server.pid))) });
    const of = (value) => value / calls;
    return {
      share: (100 * of(measured.cpu_s)) / measured.seconds,
      bytes: of(most - before),
      kernel: (100 * measured.system_s) / measured.cpu_s,
      heard: of(measured.frames_heard) / measured.seconds,
      spoken: of(measured.frames_spoken) / measured.seconds,
    };
  } finally {
    await server.stop();
  }
};

await bench('voice', { rounds: 15, cuts: 7, rolls: 7, costs: 3, seconds: 8 }, async ({ rounds, cuts, rolls, costs, seconds }) => {
  const program = await buildRelay();
  await buildLoad();
  await buildPackage();
  const facts = machine();
  const names = ['tautline', 'agents', 'bare'];
  const server = await startRelay(program, { role: 'server', args: ARGS });
  const lab = await openPage('voice', {}, MICROPHONE);
  let connected;
  try {
    // The first call of a browser starts its audio.
    await connect(lab, server, 'bare')();
    connected = await alternate(Object.fromEntries(names.map((name) => [name, connect(lab, server, name)])), rounds, (name, round, one) =>
      console.log(`${round + 1}/${rounds} ${name}: ${number(one.first)} ms, again ${number(one.again)} ms`));
  } finally {
    await lab.close();
    await server.stop();
  }
  const cutOff = await alternate({ cut: () => cut(program) }, cuts, (_, round, one) => console.log(`${round + 1}/${cuts} cut: there after ${number(one.there)} ms, heard after ${number(one.heard)} ms`));
  const rolled = {};
  for (const transport of TRANSPORTS) {
    rolled[transport] = await rollovers(program, transport, rolls);
    for (const [what, gaps] of Object.entries(rolled[transport])) console.log(`${transport}, ${what}: ${gaps.map((ms) => `${number(ms)} ms`).join(', ')}`);
  }
  const held = await alternate(Object.fromEntries(CALLS.map((calls) => [calls, cost(program, calls, { seconds })])), costs, (calls, round, one) =>
    console.log(`${round + 1}/${costs} ${calls} calls: ${number(one.share)} % of a core and ${number(one.bytes)} bytes a call`));

  const against = (name, key) => {
    if (name === 'agents') return '1';
    const times = ratio(connected, key, name, 'agents');
    return name === 'tautline' ? `${spreadText(times)}: ${verdict(times, { most: 1 })}` : spreadText(times);
  };
  const [all, core] = [await weigh('tautline'), await weigh('tautline/core')];
  const kilobytes = (whole, part) => whole[part].brotli / 1000;
  const added = (part) => kilobytes(all, part) - kilobytes(core, part);
  const text = [
    `## Calls\n\n\`npm run bench -- voice --write\`. ${facts}; Chromium ${lab.version} with its fake microphone.`,
    `### Until a call is there\n\nFrom \`connect()\`, code loaded and key at hand, to a session that has confirmed its settings: microphone, offer, answer, ICE, DTLS, channel, \`session.updated\`. ${rounds} rounds, each in a new page; the relay's loopback peer answers all of them.`,
    table(['', 'first call of a page, ms', 'times the official client', 'another one, ms', 'times the official client'], names.map((name) => [
      NAMES[name],
      ...['first', 'again'].flatMap((key) => [spreadText(figure(connected, name, key)), against(name, key)]),
    ])),
    'Where a first call stands after so many ms. Loaded code is not compiled code: what a client does of its own is compiled in its first call, WebAssembly and JavaScript alike.',
    table(['', ...STEPS.map(([, words]) => words)], names.map((name) => [NAMES[name], ...STEPS.map(([step]) => number(figure(connected, name, step).median))])),
    `### Until a call whose packets stopped is heard again\n\nFrom the moment nothing gets through, ${cuts} times; the microphone beeps once a second, and the answer begins after the beep has ended.`,
    table(['', 'ms', ''], [
      ['the call is given up', spreadText(figure(cutOff, 'cut', 'lost')), ''],
      ['another is there, its settings confirmed', spreadText(figure(cutOff, 'cut', 'there')), ''],
      ['what was said is heard back', spreadText(figure(cutOff, 'cut', 'heard')), verdict(figure(cutOff, 'cut', 'heard'), { most: BACK_MS })],
    ]),
    `### When a session follows one that runs out\n\nSessions end after 10 s, and at half of that another takes the place between two turns: ${rolls} of them one after the other, over either transport. Played: from the last sample of the old session's answer to the first of the new one's, by the clock of the element that plays it, silence and all. Spoken: from the last packet, or piece of 40 ms, with sound of the microphone into the old session to the first into the new one.`,
    table(['', 'played, ms', '', 'spoken, ms', ''], TRANSPORTS.map((transport) => [
      transport,
      ...['played', 'spoken'].flatMap((what) => {
        const gap = spread(rolled[transport][what]);
        return [spreadText(gap), verdict({ ...gap, median: gap.max }, { most: GAP_MS })];
      }),
    ])),
    `### What a call costs the relay\n\nNative callers speak 1.5 s and listen 2.5 s, over and over, and are answered in sound; ${costs} rounds of ${seconds} s, a fresh relay each, on a core of its own. Its allocator takes memory in pieces of 4 MiB: what one call alone takes says little.`,
    table(['calls at once', '% of a core, a call', 'of it in the kernel', 'resident bytes a call', 'frames of 20 ms a second: to it', 'from it'], CALLS.map((calls) => [
      number(calls),
      spreadText(figure(held, calls, 'share')),
      `${number(figure(held, calls, 'kernel').median)} %`,
      spreadText(figure(held, calls, 'bytes')),
      number(figure(held, calls, 'spoken').median),
      number(figure(held, calls, 'heard').median),
    ])),
    '### What it adds to a page',
    'A page that imports all of either module, built by Vite, as brotli sends it:',
    table(['KB', '`tautline`', '`tautline/core`', 'voice', ''], ['wasm', 'js', 'together'].map((part) => [
      part === 'js' ? 'JavaScript' : part === 'wasm' ? 'WebAssembly' : part,
      number(kilobytes(all, part)),
      number(kilobytes(core, part)),
      number(added(part)),
      part === 'together' ? verdict(spread([added(part)]), { most: MOST_KB }) : '',
    ])),
    '![Calls](charts/voice.svg)',
  ];
  const bar = (name, value, unit, { min, max } = {}) => ({ name: String(name).replaceAll('`', ''), value, min, max, text: `${number(value)} ${unit}` });
  const chart = barChart({
    title: 'Calls',
    groups: [
      { name: 'Until the first call of a page is there, ms (less is better)', bars: names.map((name) => bar(NAMES[name], figure(connected, name, 'first').median, 'ms', figure(connected, name, 'first'))) },
      { name: '% of a core that a call costs the relay, by calls at once', bars: CALLS.map((calls) => bar(calls, figure(held, calls, 'share').median, '%', figure(held, calls, 'share'))) },
    ],
  });
  return { text: text.join('\n\n'), charts: { voice: chart } };
});
