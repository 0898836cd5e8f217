// Objects of a page that are made and dropped in random order, with whatever goes wrong, until nothing is left of any: round
// after round, each measured. `tests/e2e/objects.spec.mjs` plays some, `npm run soak:browser` a thousand.

import { freePort } from './udp.mjs';
import { browserCounts } from './browser.mjs';

/** Objects that live at a time. */
const AT_ONCE = 6;
/** How long a round's leftovers may take to go: a reconnect that is under way, a close that the browser reports late. */
const GONE_MS = 30_000;

/** Another number for each `n`, the same for the same seed. */
const derived = (seed, n) => Math.imul(seed ^ Math.imul(n + 1, 0x9e3779b1), 0x85ebca6b) >>> 0;

/**
 * @param {import('@playwright/test').Page} page on the lab's page
 * @param {{ relay: import('./relay.mjs').Relay, seed: number, rounds: number, objects: number, told?: (line: string) => void }} options `objects` a round
 * @returns {Promise<{ lives: { kind: string, trouble: string, end: string }[], kills: number, reported: number, kept: { peers: number, contexts: number, contextsMade: number }, samples: { heap: number, nodes: number, listeners: number, wasm: number }[] }>}
 */
export async function playObjects(page, { relay, seed, rounds, objects, told = () => {} }) {
  const restaurantId = 'objects';
  const errors = [];
  page.on('pageerror', (error) => errors.push(error));
  let killing = Promise.resolve();
  await page.exposeFunction('getToken', async () => {
    await killing;
    return relay.token({ restaurant: restaurantId });
  });
  // Other objects lose theirs too: that is what cables do.
  const cut = async (isCall) => {
    await killing;
    if (!isCall) return relay.trouble('cut');
    const headers = { authorization: `Bearer ${await relay.token({ restaurant: restaurantId })}` };
    const [call] = (await relay.sessions({ restaurant: restaurantId })).filter(({ kind }) => kind === 'voice');
    if (call) await fetch(`${relay.url}/api/v1/sessions/${call.id}`, { method: 'DELETE', headers });
  };
  // The relay may be killed while it is asked to: that cuts too.
  await page.exposeFunction('cut', (isCall) => cut(isCall).catch(() => {}));
  const where = { relay: relay.url, refused: `http://127.0.0.1:${await freePort()}`, restaurantId };
  const sample = async () => ({ ...(await browserCounts(page)), wasm: await page.evaluate(async () => (await import('/objects.js')).wasmBytes()) });

  const lives = [];
  const samples = [];
  let kills = 0;
  let reports = 0;
  for (let round = 0; round < rounds; round += 1) {
    const seeds = Array.from({ length: objects }, (_, n) => derived(seed, round * objects + n));
    const playing = page.evaluate(async ([all, given, atOnce]) => {
      const { life } = await import('/objects.js');
      const results = [];
      const next = async () => {
        for (let one = all.shift(); one !== undefined; one = all.shift()) results.push(await life(one, given));
      };
      await Promise.all(Array.from({ length: atOnce }, next));
      return results;
    }, [seeds, where, AT_ONCE]);
    // In every fourth round the relay dies in the middle, and comes back.
    if (round % 4 === 2) {
      await new Promise((resolve) => setTimeout(resolve, derived(seed, round) % 500));
      kills += 1;
      killing = relay.kill9().then(() => relay.restart());
      await killing;
    }
    const played = await playing;
    lives.push(...played);
    const reported = {};
    const expected = (calls) => played.filter(({ kind, end }) => end.startsWith('forgotten') && (kind === 'webrtc' || kind === 'websocket') === calls).length;
    const deadline = Date.now() + GONE_MS;
    for (;;) {
      await browserCounts(page); // collects
      const [live, said] = await page.evaluate(async () => {
        const { live: left, takeReported } = await import('/objects.js');
        return [left(), takeReported()];
      });
      for (const [name, count] of Object.entries(said)) reported[name] = (reported[name] ?? 0) + count;
      const { WebSocketService: services = 0, VoiceConnection: calls = 0, ...rest } = reported;
      const all = services === expected(false) && calls === expected(true);
      if (Object.keys(live).length === 0 && all) break;
      if (Date.now() > deadline || services > expected(false) || calls > expected(true)) {
        const state = JSON.stringify({ played, live, reported, forgotten: [expected(false), expected(true)] });
        throw new Error(`round ${round} of seed ${seed} is not over: ${state}`);
      }
      // What was made on a service may go before it, and is reported then; nothing else is.
      const strange = Object.keys(rest).filter((name) => !['OrderUpdates', 'ConnectionManager'].includes(name));
      if (strange.length > 0) throw new Error(`round ${round} of seed ${seed} reported ${strange.join('; ')}`);
    }
    samples.push(await sample());
    reports += expected(false) + expected(true);
    if (errors.length > 0) throw new Error(`round ${round} of seed ${seed} threw ${errors.map(String).join('; ')}`);
    const { heap, nodes, listeners, wasm } = samples[round];
    told(`round ${round + 1} of ${rounds}: heap ${(heap / 1e6).toFixed(2)} MB, wasm ${(wasm / 1e6).toFixed(2)} MB, ${nodes} nodes, ${listeners} listeners`);
  }
  // What is closed is not yet collected. A peer connection that is closed while it gathers the browser may keep itself, with its
  // senders' tracks: a task of its own holds it (heap snapshots say so). And of audio contexts one in a hundred. Those are only counted.
  let kept;
  for (const deadline = Date.now() + GONE_MS; ; ) {
    await browserCounts(page);
    const { peers, contexts, contextsMade, tracks: _, ...left } = await page.evaluate(async () => (await import('/objects.js')).uncollected());
    kept = { peers, contexts, contextsMade };
    if (Object.keys(left).length === 0 && contexts <= contextsMade / 20) break;
    if (Date.now() > deadline) throw new Error(`after seed ${seed} the collector leaves ${JSON.stringify({ ...left, ...kept })}`);
  }
  // A call that was given up before it had packets is found by the relay's own deadline.
  for (const deadline = Date.now() + GONE_MS; ; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const sessions = await relay.sessions({ restaurant: restaurantId });
    if (sessions.length === 0) break;
    if (Date.now() > deadline) throw new Error(`after seed ${seed} the relay has ${JSON.stringify(sessions)}`);
  }
  return { lives, kills, reported: reports, kept, samples };
}
