// Nothing is left: after many rounds, after a dispose from inside any callback, whatever callbacks do.

import { browser, check, heard, ledger, noneUnhandled, nothingLive, pause, rejection, same, until } from '../support/host.js';
import { control, newOrder, plainSocket, relaySocket, restaurant, token } from '../support/server.js';
import { serviceAt } from '../browser/orders.js';

/** The ledger says what the browser says. */
function agree() {
  const { socket = 0, socket_closing = 0, timer = 0, listener = 0, fetch = 0 } = ledger();
  const truth = browser();
  same([socket + socket_closing, timer, listener], [truth.sockets, truth.timers, truth.listeners], 'ledger against browser: sockets, timers, listeners');
  check(fetch >= truth.fetches, `fetches on the ledger: ${fetch} of ${truth.fetches}`);
}

export async function fiveHundredRounds({ WebSocketService, ConnectionManager, OrderUpdates }) {
  const id = restaurant('rounds');
  const jwt = await token(id);
  for (let round = 0; round < 500; round += 1) {
    const url = relaySocket();
    const service = new WebSocketService({ restaurantId: id }, round % 6 === 5 ? () => Promise.resolve(url) : url, () => jwt);
    const manager = new ConnectionManager(service, 5);
    const orders = new OrderUpdates(service);
    service.on('error', () => {}, false);
    service.subscribe('order:*', () => {});
    orders.onOrders(() => {});
    orders.initialize();
    // Let go of at every stage: before, during and after connecting, with and without a holder, a call, a timer.
    const waits = [];
    if (round % 2) waits.push(service.connect(round % 7 ? undefined : new AbortController().signal, round % 3 ? undefined : 5_000));
    else waits.push(manager.acquire(undefined));
    if (round % 5 === 0) waits.push(orders.fetchOrders('', undefined));
    if (round % 11 === 0) waits.push(orders.updateOrderStatus('nobody', 'ready', undefined, true));
    const settled = Promise.allSettled(waits);
    if (round % 4 > 1) await Promise.race([settled, pause(round % 40)]);
    if (round % 25 === 0) agree();
    if (round % 13 === 0) service.disconnect();
    if (round % 17 === 0) manager.forceDisconnect();
    const parts = [service, manager, orders];
    for (let n = 0; n < 3; n += 1) parts[(n + round) % 3].dispose();
    await settled;
    for (const part of parts) part.free();
  }
  await nothingLive();
  await noneUnhandled();
}

export async function servicesLeaveNoMemory({ WebSocketService, OrderUpdates, memoryBytes }) {
  const rounds = (count) => {
    for (let n = 0; n < count; n += 1) {
      const service = new WebSocketService({}, plainSocket(), undefined);
      const orders = new OrderUpdates(service);
      orders.initialize();
      for (const part of [orders, service]) {
        part.dispose();
        part.free();
      }
    }
  };
  rounds(200);
  const before = memoryBytes();
  rounds(3_000);
  // Two pages of it are what an allocator may need to find its size.
  check(memoryBytes() - before <= 2 * 65_536, `memory grew by ${memoryBytes() - before} bytes`);
  await nothingLive();
}

export async function callbacksDoAnything({ WebSocketService, ConnectionManager, OrderUpdates }) {
  const id = restaurant('callbacks');
  const events = ['stateChange', 'connected', 'message', 'message:order:created', 'resumed', 'latency', 'fresh', 'stale'];
  for (const at of [...events, 'subscribe', 'onOutbox', 'onOrders', 'onOrderUpdate', 'getToken', 'url']) {
    const service = new WebSocketService({ restaurantId: id, reconnectInterval: 20 }, () => run('url', plainUrl), () => run('getToken', 'a-token'));
    const manager = new ConnectionManager(service, 5);
    const orders = new OrderUpdates(service);
    const errors = [];
    service.on('error', (error) => errors.push(error), false);
    const others = [];
    let ran = 0;
    let end = false;
    const calls = [];
    const run = (where, value) => {
      if (where === at && ran < 3) {
        ran += 1;
        for (const other of others) service.unsubscribe(other);
        every();
        if (end) {
          service.dispose();
          every();
        }
        throw new Error(`thrown by ${where}`);
      }
      return value;
    };
    const plainUrl = plainSocket();
    /** Every method of every object. */
    const every = () => {
      const quietly = (call) => {
        try {
          const answer = call();
          if (answer instanceof Promise) calls.push(answer.catch(() => {}));
          if (answer?.done instanceof Promise) calls.push(answer.done.catch(() => {}));
        } catch (error) {
          check(error.code !== undefined, `an error of ours: ${error}`);
        }
      };
      quietly(() => service.connect(undefined, undefined));
      quietly(() => service.send('kds:update', '{}', undefined, undefined, undefined));
      quietly(() => service.request('kds:update', '{}', 500, undefined, undefined));
      quietly(() => service.status('x'));
      quietly(() => service.cancel('x'));
      quietly(() => service.outbox());
      quietly(() => service.unsubscribe(service.onOutbox(() => {})));
      quietly(() => service.unsubscribe(service.subscribe('*', () => {})));
      quietly(() => service.unsubscribe(service.on('connected', () => {}, true)));
      quietly(() => service.off('connected', run));
      quietly(() => service.listenerCount('connected'));
      quietly(() => service.getConnectionState());
      quietly(() => service.isConnected());
      quietly(() => service.stats());
      quietly(() => service.freshness());
      quietly(() => service.reconnectNow());
      quietly(() => service.setToken('another'));
      quietly(() => manager.acquire(undefined).then((lease) => manager.release(lease)));
      quietly(() => manager.connect());
      quietly(() => manager.disconnect());
      quietly(() => manager.getStatus());
      quietly(() => orders.initialize());
      quietly(() => orders.orders());
      quietly(() => orders.requestSync());
      quietly(() => orders.unsubscribe(orders.onOrders(() => {})));
      quietly(() => orders.updateOrderStatus('nobody', 'ready', undefined, true));
      quietly(() => orders.createOrder('{"items":[]}'));
      quietly(() => orders.cancelOrder('nobody', undefined));
      quietly(() => orders.cleanup());
      quietly(() => orders.initialize());
    };
    for (const event of events) service.on(event, () => run(event), false);
    service.subscribe('*', () => run('subscribe'));
    service.onOutbox(() => run('onOutbox'));
    orders.onOrders(() => run('onOrders'));
    orders.onOrderUpdate(() => run('onOrderUpdate'));
    for (let n = 0; n < 3; n += 1) others.push(service.subscribe('order:created', () => {}));
    orders.initialize();
    await service.connect(undefined, 10_000).catch(() => {});
    await until(`connected (${at})`, () => service.isConnected(), 10_000);
    for (let n = 0; n < 3; n += 1) await control(id, 'event', { type: 'order:created', payload: { order: { id: `o${n}`, status: 'new', items: [] } } });
    service.send('kds:update', '{}', undefined, undefined, undefined).done.catch(() => {});
    if (!['stale', 'fresh', 'latency', 'resumed'].includes(at)) await until(`${at} ran`, () => ran > 0);
    if (ran > 0 && !['url', 'getToken'].includes(at)) check(errors.some((error) => error.code === 'callback'), `${at}: what it threw is reported`);
    // Now once more, disposing from inside.
    end = true;
    ran = 0;
    await control(id, 'event', { type: 'order:created', payload: { order: { id: 'last', status: 'new', items: [] } } });
    if (['message', 'subscribe', 'onOrderUpdate'].includes(at)) await until(`${at} disposed it`, () => ran > 0);
    service.dispose();
    orders.dispose();
    manager.dispose();
    await Promise.all(calls);
    await nothingLive();
  }
  await noneUnhandled();
}

export async function callbackFailuresAreReported({ WebSocketService }) {
  const id = restaurant('failures');
  const service = new WebSocketService({ restaurantId: id }, plainSocket(), () => 'a-token');
  await service.connect(undefined, 20_000);
  heard.errors.length = 0;
  const after = [];
  service.subscribe('kds:update', () => {
    throw new Error('sync');
  });
  service.subscribe('kds:update', async () => {
    throw new Error('async');
  });
  service.subscribe('kds:update', () => {
    service.subscribe('kds:update', () => after.push('added'));
    after.push('last');
  });
  await control(id, 'event', { type: 'kds:update', payload: {} });
  await until('both failures', () => heard.errors.length === 2);
  same(heard.errors.map((error) => [error.code, error.cause.message]).sort(), [['callback', 'async'], ['callback', 'sync']], 'reported on the console');
  same(after, ['last'], 'a listener added during an emit waits for the next one');
  const told = [];
  service.on('error', (error) => told.push(error.cause.message), false);
  await control(id, 'event', { type: 'kds:update', payload: {} });
  await until('told', () => told.length === 2);
  same(after, ['last', 'last', 'added'], 'the next one');
  service.dispose();
  await nothingLive();
  await noneUnhandled();
}

export async function aborts({ WebSocketService, ConnectionManager, OrderUpdates }) {
  const id = restaurant('aborts');
  const service = serviceAt(WebSocketService, id);
  const manager = new ConnectionManager(service, 0);
  const orders = new OrderUpdates(service);
  const reason = new Error('my reason');
  const already = AbortSignal.abort(reason);
  check((await rejection(service.connect(already, undefined))) === reason, "connect rejects with the signal's own reason");
  check((await rejection(manager.acquire(already))) === reason, 'acquire too');
  check((await rejection(orders.fetchOrders('', already))) === reason, 'fetchOrders too');
  check((await rejection(service.request('x', '{}', 1_000, undefined, already))) === reason, 'request too');
  await nothingButLifecycle();

  // During: only that wait ends.
  const [one, two] = [new AbortController(), new AbortController()];
  const waits = [service.connect(one.signal, undefined), service.connect(two.signal, undefined)];
  one.abort(reason);
  check((await rejection(waits[0])) === reason, 'aborted while connecting');
  await waits[1];
  check(service.isConnected(), 'the other call connected');
  two.abort(reason);
  check(service.isConnected(), 'aborted after it was settled: nothing');
  service.disconnect();

  // The attempt goes when nobody is left.
  const alone = new AbortController();
  const wait = manager.acquire(alone.signal);
  alone.abort();
  same((await rejection(wait)).name, 'AbortError', "the platform's reason where the caller gave none");
  await until('the attempt is dropped', () => service.getConnectionState() === 'disconnected');

  // A timeout of the wait's own.
  const never = new WebSocketService({ restaurantId: id }, () => new Promise(() => {}), undefined);
  const late = await rejection(never.connect(undefined, 20));
  same([late.code, late.timeoutMs], ['connect_timeout', 20], 'timeoutMs');
  never.dispose();

  // A wait that was given up says nothing to the one that took its place.
  const answers = [];
  const again = new WebSocketService({ restaurantId: id }, () => new Promise((resolve) => answers.push(resolve)), undefined);
  const first = again.connect(undefined, undefined);
  again.disconnect();
  const second = again.connect(undefined, undefined);
  same((await rejection(first)).code, 'aborted', 'the first');
  await pause(10);
  same([answers.length, ledger().closure], [2, 1], 'the second waits on');
  answers[1](relaySocket());
  same((await rejection(second)).code, 'auth_failed', 'it came as far as the relay');
  again.dispose();

  // Disposed of by the very function that is asked, which then never answers.
  const ask = (asked) => () => {
    asked().dispose();
    return new Promise(() => {});
  };
  for (const where of ['url', 'getToken']) {
    const asked = new WebSocketService({ restaurantId: id }, where === 'url' ? ask(() => asked) : relaySocket(), where === 'url' ? undefined : ask(() => asked));
    same((await rejection(asked.connect(undefined, undefined))).code, 'disposed', `disposed of by ${where}`);
    same(ledger().closure, undefined, 'waits');
  }

  await service.connect(undefined, 20_000);
  const during = new AbortController();
  const request = service.request('order:update_status', '{"order_id":"x","status":"ready"}', 5_000, undefined, during.signal);
  during.abort(reason);
  check((await rejection(request)) === reason, 'a request under way');
  const fetching = new AbortController();
  const fetched = orders.fetchOrders('', fetching.signal);
  fetching.abort(reason);
  check((await rejection(fetched)) === reason, 'an HTTP call under way');

  // Pending promises settle with dispose.
  service.disconnect();
  const pending = [
    service.connect(undefined, undefined),
    service.send('order:create', '{}', undefined, undefined, undefined).done,
    service.request('x', '{}', 1_000, undefined, undefined),
    orders.fetchOrders('', undefined),
    orders.updateOrderStatus('x', 'ready', undefined, true),
    manager.acquire(undefined),
  ].map(rejection);
  service.dispose();
  for (const error of await Promise.all(pending)) same(error.code, 'disposed', 'pending at dispose()');
  orders.dispose();
  manager.dispose();
  await nothingLive();
  await noneUnhandled();

  async function nothingButLifecycle() {
    await until('only the lifecycle listeners', () => {
      const { listener, ...rest } = ledger();
      return listener > 0 && Object.keys(rest).length === 0;
    });
  }
}

export async function handlesAreFreed({ WebSocketService, ConnectionManager, OrderUpdates }) {
  const id = restaurant('freed');
  // Its handle is enough: what it holds goes with it, though nobody disposed of it.
  const service = serviceAt(WebSocketService, id);
  const manager = new ConnectionManager(service, 0);
  const orders = new OrderUpdates(service);
  orders.initialize();
  await manager.acquire(undefined);
  same(ledger().lease, 1, 'leases');
  const waits = [orders.updateOrderStatus('nobody', 'ready', undefined, true), orders.fetchOrders('', undefined)].map(rejection);
  orders.free();
  for (const error of await Promise.all(waits)) same(error.code, 'disposed', 'what an order set was waiting for');
  manager.free();
  await until('no holder is left', () => service.getConnectionState() === 'disconnected');
  same(ledger().lease, undefined, 'leases');
  await service.connect(undefined, 20_000);
  agree();
  service.free();
  await nothingLive();

  // In the middle of everything, its promises are rejected.
  const early = new WebSocketService({ restaurantId: id }, relaySocket(), () => new Promise(() => {}));
  const wait = rejection(early.connect(undefined, 5_000));
  early.free();
  same((await wait).code, 'disposed', 'connect()');
  await nothingLive();
  await noneUnhandled();
}

export async function leases({ WebSocketService, ConnectionManager }) {
  const id = restaurant('leases');
  const service = serviceAt(WebSocketService, id);
  const states = [];
  service.on('stateChange', (state) => states.push(state), false);
  const [one, two] = [new ConnectionManager(service, 50), new ConnectionManager(service, 50)];
  const held = await Promise.all([one.acquire(undefined), one.acquire(undefined), two.acquire(undefined)]);
  same(new Set(held).size, 3, 'lease numbers');
  same([ledger().socket, ledger().lease], [1, 3], 'one socket for three holders of two managers');
  same(one.getStatus(), { isConnected: true, isConnecting: false, connectionCount: 3 }, 'status');
  one.release(held[0]);
  one.release(held[0]);
  one.release(held[1]);
  await pause(100);
  check(service.isConnected(), 'kept for the last holder');
  two.release(held[2]);
  check(service.isConnected(), 'kept for the linger');
  const again = await one.acquire(undefined);
  await pause(100);
  same(states, ['connecting', 'connected'], 'a remount within the linger does not reconnect');
  one.release(again);
  await until('closed after the linger', () => service.getConnectionState() === 'disconnected');

  // The counting pair.
  heard.warnings.length = 0;
  one.disconnect();
  one.disconnect();
  same(heard.warnings.length, 1, 'one warning for disconnect() without connect()');
  await Promise.all([one.connect(), one.connect()]);
  one.disconnect();
  await pause(100);
  check(service.isConnected(), 'one of two left');
  one.forceDisconnect();
  same(service.getConnectionState(), 'disconnected', 'forceDisconnect');
  one.disconnect();

  // An aborted acquire holds nothing and ends only itself.
  const controller = new AbortController();
  const [aborted, kept] = [two.acquire(controller.signal), one.acquire(undefined)];
  controller.abort();
  await rejection(aborted);
  const lease = await kept;
  same(ledger().lease, 1, 'leases');
  two.dispose();
  check(service.isConnected(), "a manager's end is not the other's");
  one.release(lease);
  one.dispose();
  await until('closed', () => service.getConnectionState() === 'disconnected');
  service.dispose();
  await nothingLive();
  await noneUnhandled();
}

export async function authEnds({ WebSocketService }) {
  const id = restaurant('auth');
  const refused = new WebSocketService({ restaurantId: id }, relaySocket(), () => 'not-a-token');
  refused.on('error', () => {}, false);
  const error = await rejection(refused.connect(undefined, 20_000));
  same([error.code, error.stage], ['auth_failed', 'auth'], 'a refused token');
  same(refused.getConnectionState(), 'error', 'state');
  // Another token leads out of it.
  const good = await token(id);
  refused.setToken(good);
  await until('connected with the new token', () => refused.isConnected());
  refused.dispose();
  const none = new WebSocketService({ restaurantId: id }, relaySocket(), undefined);
  none.on('error', () => {}, false);
  same((await rejection(none.connect(undefined, 20_000))).code, 'auth_failed', 'no getToken where one is asked for');
  none.dispose();
  await nothingLive();
  await noneUnhandled();
}

export async function manyEventsLeaveThePageRoom({ WebSocketService }) {
  const id = restaurant('many');
  const service = new WebSocketService({ restaurantId: id }, plainSocket(), () => 'a-token');
  await service.connect(undefined, 20_000);
  const seen = [];
  let tasks = 0;
  service.subscribe('kds:update', ({ n }) => {
    const now = performance.now();
    while (performance.now() - now < 1);
    seen.push(n);
  });
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    tasks += 1;
    if (seen.length < 100) channel.port2.postMessage(0);
  };
  channel.port2.postMessage(0);
  const batch = Array.from({ length: 100 }, (_, n) => ({ type: 'kds:update', payload: { n } }));
  await control(id, 'frame', { text: JSON.stringify(batch) });
  await until('all of them', () => seen.length === 100);
  same(seen, batch.map(({ payload }) => payload.n), 'in order');
  check(tasks >= 5, `other tasks ran in between: ${tasks}`);
  channel.port1.close();
  service.dispose();
  await nothingLive();
}

export async function aFullSocketIsWaitedFor({ WebSocketService, OrderUpdates }) {
  const id = restaurant('full');
  const service = serviceAt(WebSocketService, id);
  const orders = new OrderUpdates(service);
  orders.initialize();
  await service.connect(undefined, 20_000);
  // What the browser says it holds; what is written is on its way all the same.
  let held = 0;
  const written = [];
  // Of the counted class (`host.js`), which inherits both from the browser's own.
  const { send } = WebSocket.prototype;
  Object.defineProperty(WebSocket.prototype, 'bufferedAmount', { configurable: true, get: () => held });
  WebSocket.prototype.send = function (text) {
    if (/order:create/.test(text)) written.push(text);
    return send.call(this, text);
  };
  try {
    const create = (name) => orders.createOrder(JSON.stringify(newOrder(name)));
    held = 2 ** 20 + 1;
    await create('First');
    same(written.length, 1, 'the one that filled it');
    const rest = [create('Second'), create('Third')];
    await pause(200);
    same(written.length, 1, 'nothing more is written while it is full');
    held = 2 ** 19 + 1;
    await pause(200);
    same(written.length, 1, 'nor before half of it has left');
    held = 0;
    await Promise.all(rest);
    same(written.length, 3, 'then the rest, each once');
  } finally {
    delete WebSocket.prototype.bufferedAmount;
    delete WebSocket.prototype.send;
  }
  orders.dispose();
  service.dispose();
  await nothingLive();
  await noneUnhandled();
}
