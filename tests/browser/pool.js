// A pool over several addresses of one relay: its query tells them apart.

import { browser, check, ledger, noneUnhandled, nothingLive, pause, rejection, same, until } from '../support/host.js';
import { api, control, newOrder, plainSocket, relaySocket, restaurant, token, trouble } from '../support/server.js';

const ways = (socket, count = 3) => Array.from({ length: count }, (_, n) => `${socket}?way=${n}`);
/** Seven numbers a member; the second says whether it is healthy. */
const healthy = (pool) => pool.health().filter((_, n) => n % 7 === 1 && pool.health()[n] === 1).length;
/** The first is its state, by `ConnectionState`s' order. */
const connected = (pool) => pool.health().filter((state, n) => n % 7 === 0 && state === 2).length;
const send = (pool, type, payload, signal) => pool.send(type, JSON.stringify(payload), 1, undefined, undefined, signal);

function poolAt(WebSocketPool, id, urls, options = {}, getToken = () => token(id)) {
  return new WebSocketPool({ restaurantId: id, reconnectInterval: 20, maxReconnectDelay: 100 }, urls, getToken, options);
}

export async function poolOnce({ WebSocketPool }) {
  const id = restaurant('pool');
  const pool = poolAt(WebSocketPool, id, ways(relaySocket()));
  const [heard, own, states] = [[], [], []];
  pool.on('stateChange', (state) => states.push(state), false);
  await Promise.all([pool.connect(undefined, 20_000), pool.connect(undefined, undefined)]);
  await until('all of them', () => healthy(pool) === 3);
  same([ledger().socket, browser().sockets], [3, 3], 'sockets');
  pool.subscribe('order:*', (payload, message) => {
    check(message.payload === payload, "the payload is the frame's own object");
    heard.push(message.seq);
    if (message.command_id) own.push(payload.order.id);
  });

  const acks = [];
  for (let n = 0; n < 12; n += 1) {
    const made = send(pool, 'order:create', { order: newOrder(`p${n}`) });
    // Every connection of it, at any moment of the call.
    if (n % 3 === 1) await trouble(id, { kind: 'cut' });
    acks.push(await made);
  }
  same(new Set(acks.map(({ result }) => result.order.id)).size, 12, 'orders answered');
  const { orders } = await api(id, 'GET', '/orders?limit=200');
  same(orders.length, 12, 'orders made');
  await until('every event', () => heard.length === 12);
  same(heard, acks.map(({ seq }) => seq).sort((a, b) => a - b), 'each once, in order');
  same(own, acks.map(({ result }) => result.order.id), 'its own too');
  same([states[0], states.at(-1)], ['connecting', 'connected'], 'states');

  // Those that were cut are back, or what they listen to would come meanwhile, and a filter would wait for them.
  await until('all of them again', () => connected(pool) === 3 && ledger().socket_closing === undefined);
  const { listener } = ledger();
  await send(pool, 'order:update_status', { order_id: own[0], status: 'pending' }, new AbortController().signal);
  same(ledger().listener, listener, 'of a call that is answered nothing is left');
  await until('its event', () => heard.length === 13);
  heard.pop();
  const refused = await rejection(send(pool, 'order:cancel', { order_id: 'nobody' }));
  same([refused.code, refused.nackCode, refused.outcome], ['nack', 'not_found', 'not_applied'], 'a refusal');
  await pool.setFilter('{"events":["table:updated"]}');
  await send(pool, 'order:create', { order: newOrder('unheard') });
  await pool.setFilter(undefined);
  const { seq } = await send(pool, 'order:create', { order: newOrder('heard') });
  await until('the last', () => heard.length > 12);
  same(heard.slice(12), [seq], 'the filter holds everywhere, and ends everywhere');

  pool.disconnect();
  await until('closed', () => browser().sockets === 0);
  const waits = rejection(send(pool, 'kds:update', {}));
  pool.dispose();
  same((await waits).code, 'disposed', 'what waited');
  same((await rejection(pool.connect())).code, 'disposed', 'connect() after dispose()');
  await nothingLive();
  await noneUnhandled();
}

export async function poolRounds({ WebSocketPool }) {
  const id = restaurant('pool-rounds');
  const jwt = await token(id);
  for (let round = 0; round < 150; round += 1) {
    const urls = ways(round % 3 ? relaySocket() : plainSocket(), 1 + (round % 4));
    if (round % 7 === 6) urls.push('ws://127.0.0.1:9/ws');
    const options = { maxConnections: 1 + (round % 3), balancing: round % 3, failover: round % 2 === 0 };
    const pool = poolAt(WebSocketPool, id, urls, options, round % 11 === 10 ? undefined : () => jwt);
    pool.on('error', () => {}, false);
    pool.subscribe('*', () => {});
    // Let go of at every stage: before, during and after connecting, with and without commands on their way.
    const signal = round % 5 ? undefined : new AbortController().signal;
    const waits = [pool.connect(signal, round % 2 ? 5_000 : undefined)];
    for (let n = 0; n < round % 6; n += 1) waits.push(send(pool, 'kds:update', { n }, signal));
    if (round % 4 === 1) waits.push(pool.setFilter('{"events":["order:*"]}'));
    const settled = Promise.allSettled(waits);
    if (round % 4 > 1) await Promise.race([settled, pause(round % 40)]);
    if (round % 13 === 0) pool.disconnect();
    const again = round % 26 ? undefined : rejection(pool.connect(undefined, undefined));
    if (round % 10 === 9) pool.free();
    else {
      pool.dispose();
      pool.free();
    }
    await settled;
    if (again) same((await again).code, 'disposed', 'a call under way');
  }
  await nothingLive();
  await noneUnhandled();
}

export async function poolsLeaveNoMemory({ WebSocketPool, memoryBytes }) {
  const rounds = (count) => {
    for (let n = 0; n < count; n += 1) {
      const pool = poolAt(WebSocketPool, 'grow', ways(plainSocket()));
      send(pool, 'kds:update', {}).catch(() => {});
      pool.dispose();
      pool.free();
    }
  };
  rounds(200);
  await pause(0);
  const before = memoryBytes();
  rounds(1_000);
  check(memoryBytes() - before <= 2 * 65_536, `memory grew by ${memoryBytes() - before} bytes`);
  await nothingLive();
}

export async function poolCallbacks({ WebSocketPool }) {
  const id = restaurant('pool-callbacks');
  for (const at of ['stateChange', 'health', 'failover', 'message', 'subscribe', 'getToken']) {
    let ran = 0;
    const calls = [];
    const run = (where) => {
      if (where !== at || ran > 1) return;
      ran += 1;
      for (const call of [() => pool.connect(), () => send(pool, 'kds:update', {}), () => pool.setFilter('{}')]) calls.push(call().catch(() => {}));
      pool.health();
      pool.stats();
      pool.subscribe('*', () => {})();
      // First it lets go and begins anew, then it ends the pool: from inside.
      if (ran === 1) {
        pool.disconnect();
        calls.push(pool.connect().catch(() => {}));
      } else pool.dispose();
    };
    const getToken = () => {
      run('getToken');
      return 'a-token';
    };
    const pool = poolAt(WebSocketPool, id, ways(plainSocket()), {}, getToken);
    for (const event of ['stateChange', 'health', 'failover', 'message']) pool.on(event, () => run(event), false);
    pool.subscribe('kds:update', () => run('subscribe'));
    calls.push(pool.connect(undefined, 10_000).catch(() => {}));
    await until(`${at} ran twice`, async () => {
      if (ran === 2) return true;
      if (pool.getConnectionState() !== 'connected') return false;
      await control(id, 'event', { type: 'kds:update', payload: {} });
      if (at === 'failover') await control(id, 'cut');
      return ran === 2;
    });
    let settled = false;
    Promise.all(calls).then(() => (settled = true));
    await until(`${at}: every call is answered`, () => settled, 10_000);
    same(pool.getConnectionState(), 'disconnected', `${at}: its state`);
    pool.dispose();
    await nothingLive();
  }
  await noneUnhandled();
}
