import { check, browser, heard, ledger, pause, same, until } from '../support/host.js';
import { callConnected } from './voice.js';
import { rungConnected } from './rung.js';
import { relaySocket, restaurant, token } from '../support/server.js';

export async function trapLeavesNothing({ WebSocketService, ConnectionManager, OrderUpdates, VoiceConnection, WebSocketPool, provokeTrap }) {
  const id = restaurant('trap');
  const jwt = await token(id);
  const peer = await callConnected(VoiceConnection);
  await rungConnected(VoiceConnection);
  // Something of every kind: open and opening sockets, timers, listeners, waits, leases, calls under way.
  const services = [];
  for (let n = 0; n < 3; n += 1) services.push(new WebSocketService({ restaurantId: id }, relaySocket(), () => jwt));
  const waiting = new WebSocketService({ restaurantId: id }, () => new Promise(() => {}), undefined);
  const pending = [waiting.connect(undefined, 60_000)];
  await services[0].connect(undefined, 20_000);
  pending.push(services[1].connect(new AbortController().signal, 60_000));
  const pool = new WebSocketPool({ restaurantId: id }, [0, 1].map((n) => `${relaySocket()}?way=${n}`), () => jwt, {});
  await pool.connect(undefined, 20_000);
  pending.push(pool.send('kds:update', '{}', 1, undefined, undefined, new AbortController().signal));
  const manager = new ConnectionManager(services[0], 1_000);
  await manager.acquire(undefined);
  const orders = new OrderUpdates(services[0]);
  orders.initialize();
  pending.push(orders.fetchOrders('', undefined), services[0].request('order:cancel', '{}', 60_000, undefined, undefined));
  for (const promise of pending) promise.catch(() => {});
  const kinds = Object.keys(ledger()).sort();
  same(kinds, ['audio_context', 'audio_element', 'closure', 'data_channel', 'fetch', 'lease', 'listener', 'media_track', 'peer_connection', 'socket', 'timer', 'worklet'], 'what is live before');

  let thrown;
  services[0].subscribe('*', () => {});
  try {
    provokeTrap();
  } catch (error) {
    thrown = error;
  }
  check(thrown instanceof WebAssembly.RuntimeError, 'it traps');
  same(heard.panics.length, 1, 'panics told');
  check(/host\.rs:\d+: provoked/.test(heard.panics[0]), `where and why: ${heard.panics[0]}`);
  same(ledger(), {}, 'the ledger');
  await until('nothing live in the browser', () => {
    return Object.values(browser()).every((count) => count === 0);
  });
  // What still comes in is turned away, and nothing new begins.
  await pause(200);
  same(Object.values(browser()).filter((count) => count > 0), [], 'afterwards');
  peer.end();
}
