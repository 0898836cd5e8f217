import { check, ledger, noneUnhandled, nothingLive, pause, rejection, same, until } from '../support/host.js';
import { api, newOrder, relaySocket, restaurant, token, trouble } from '../support/server.js';

/** A service at the relay; its restaurant is made by being used. */
export function serviceAt(WebSocketService, id, config = {}, role = 'manager') {
  return new WebSocketService({ restaurantId: id, reconnectInterval: 50, maxReconnectDelay: 500, ...config }, relaySocket(), () => token(id, role));
}

export async function roundTrip({ WebSocketService, OrderUpdates }) {
  const id = restaurant('round');
  const service = serviceAt(WebSocketService, id);
  const orders = new OrderUpdates(service);
  const updates = [];
  const lists = [];
  orders.onOrderUpdate((update) => updates.push(update));
  orders.onOrders((list) => lists.push(list));
  orders.initialize();
  const before = await api(id, 'POST', '/orders', newOrder('Before'));
  await service.connect(undefined, 20_000);
  await until('the snapshot', () => orders.orders().length === 1);
  const [first] = updates;
  same([first.action, first.source, first.initial, first.orderId], ['created', 'snapshot', true, before.id], 'initial update');
  same(lists.at(-1).length, 1, 'onOrders');

  // Posted over HTTP → event → here.
  const posted = await api(id, 'POST', '/orders', newOrder('Posted'));
  await until('the event', () => updates.length === 2);
  same([updates[1].action, updates[1].source, updates[1].order.id], ['created', 'event', posted.id], 'event');
  check(updates[1].seq === 2, 'its number');
  check(orders.orders().includes(updates[1].order), "orders() has the engine's own object");

  // Made here → ack → shown.
  const made = await orders.createOrder(JSON.stringify(newOrder('Made')));
  check(orders.orders().some((order) => order.id === made.id), 'orders() shows it when the promise resolves');
  await orders.updateOrderStatus(made.id, 'preparing', 'new', false);
  same(orders.orders().find((order) => order.id === made.id).status, 'preparing', 'status when the promise resolves');
  const change = updates.at(-1);
  same([change.action, change.status, change.previousStatus], ['status_changed', 'preparing', 'new'], 'update');
  const item = made.items[0].id;
  await orders.updateItemStatus(made.id, item, 'ready', undefined, false);
  same(orders.orders().find((order) => order.id === made.id).items[0].status, 'ready', 'item');
  same([updates.at(-1).action, updates.at(-1).itemId], ['item_status_changed', item], 'item update');

  const conflict = await rejection(orders.updateOrderStatus(made.id, 'ready', 'new', false));
  same([conflict.code, conflict.nackCode, conflict.outcome], ['nack', 'conflict', 'not_applied'], 'a refusal');
  const missing = await rejection(orders.updateOrderStatus('nobody', 'ready', undefined, false));
  same(missing.nackCode, 'not_found', 'a refusal');
  const cancelled = await orders.cancelOrder(posted.id, 'sold out');
  same([cancelled.id, cancelled.status], [posted.id, 'cancelled'], 'cancelOrder');

  // Over HTTP with the service's token.
  const page = await orders.fetchOrders('status=preparing', undefined);
  same(page.orders.map((order) => order.id), [made.id], 'fetchOrders');
  same((await orders.fetchOrder(before.id, undefined)).id, before.id, 'fetchOrder');
  const none = await rejection(orders.fetchOrder('nobody', undefined));
  same([none.code, none.status], ['http_failed', 404], 'fetchOrder of none');

  const answer = await service.request('order:update_status', JSON.stringify({ order_id: before.id, status: 'pending' }), 20_000, 'my-id', undefined);
  same([answer.id, answer.result.status, typeof answer.seq, typeof answer.epoch], ['my-id', 'pending', 'number', 'string'], 'ack');
  same(service.outbox(), [], 'outbox');
  const freshness = service.freshness();
  check(freshness.live && freshness.seq === service.stats().lastSeq, 'freshness');

  // Another one, late: told of the set as the first was.
  const late = new OrderUpdates(service);
  const told = [];
  late.onOrderUpdate((update) => told.push(update));
  same(late.orders(), [], 'orders() before initialize()');
  late.initialize();
  same(told.map(({ action, initial }) => [action, initial]), orders.orders().map(() => ['created', true]), 'initial updates');
  check(late.orders() === orders.orders(), 'one set, one array');
  late.dispose();

  orders.cleanup();
  same(orders.orders(), [], 'orders() after cleanup');
  orders.dispose();
  same((await rejection(orders.createOrder('{}'))).code, 'disposed', 'after dispose');
  service.dispose();
  await nothingLive();
  await noneUnhandled();
}

export async function outboxAcrossACut({ WebSocketService, OrderUpdates }) {
  const id = restaurant('outbox');
  const service = serviceAt(WebSocketService, id);
  const orders = new OrderUpdates(service);
  orders.initialize();
  const early = service.send('order:create', JSON.stringify({ order: newOrder('Early') }), undefined, undefined, undefined);
  same(service.status(early.id), 'queued', 'kept until there is a connection');
  same(service.outbox().map((entry) => [entry.id, entry.type, entry.status]), [[early.id, 'order:create', 'queued']], 'outbox');
  await service.connect(undefined, 20_000);
  const ack = await early.done;
  same(ack.result.order.items[0].name, 'Early', 'ack');

  const resumed = [];
  service.on('resumed', (span) => resumed.push(span), false);
  // Cut in the middle of a burst: every one is applied once.
  const sends = Array.from({ length: 50 }, (_, n) => orders.createOrder(JSON.stringify(newOrder(`Burst ${n}`))));
  await cut(service, id);
  const made = await Promise.all(sends);
  same(new Set(made.map((order) => order.id)).size, 50, 'orders made');
  await until('all of them shown', () => orders.orders().length === 51);
  const { orders: truth } = await api(id, 'GET', '/orders?limit=200');
  same(truth.length, 51, "the relay's own count");
  await until("resumed, not begun anew", () => resumed.length === 1);
  same(service.stats().gaps, 0, 'gaps');

  // Waiting too long is said, not swallowed.
  service.disconnect();
  const late = service.send('order:create', JSON.stringify({ order: newOrder('Late') }), undefined, 1, undefined);
  await pause(20);
  const expired = rejection(late.done);
  await service.connect(undefined, 20_000);
  same([(await expired).code, (await expired).outcome], ['outbox_expired', 'not_sent'], 'an expired message');
  const gone = rejection(service.send('order:create', '{}', 'withdrawn', undefined, undefined).done);
  check(service.cancel('withdrawn'), 'withdrawn');
  same((await gone).code, 'aborted', 'a withdrawn message');
  orders.dispose();
  service.dispose();
  await nothingLive();
  await noneUnhandled();
}

/** Has the relay cut the service's socket, and waits until that has been noticed. */
async function cut(service, id) {
  const lost = new Promise((resolve) => service.on('disconnected', resolve, true));
  await trouble(id, { kind: 'cut' });
  await lost;
}

export async function optimisticOverlay({ WebSocketService, OrderUpdates }) {
  const id = restaurant('optimistic');
  const { id: orderId } = await api(id, 'POST', '/orders', newOrder());
  const service = serviceAt(WebSocketService, id);
  const orders = new OrderUpdates(service);
  orders.initialize();
  await service.connect(undefined, 20_000);
  await until('the snapshot', () => orders.orders().length === 1);
  const shown = () => orders.orders()[0];
  const original = shown();

  const done = orders.updateOrderStatus(orderId, 'preparing', undefined, true);
  same(shown().status, 'preparing', 'shown at once');
  same(original.status, 'new', 'the object there was is untouched');
  await done;
  same(shown().status, 'preparing', 'and kept when it is confirmed');

  // Disconnected: the change is shown, a foreign change comes between, ours is refused.
  service.disconnect();
  const refused = rejection(orders.updateOrderStatus(orderId, 'ready', 'preparing', true));
  same(shown().status, 'ready', 'shown while offline');
  await api(id, 'PATCH', `/orders/${orderId}/status`, { status: 'completed' });
  const connected = service.connect(undefined, 20_000);
  const error = await refused;
  await connected;
  same(error.code, 'nack', 'refused');
  await until('the truth', () => shown().status === 'completed');
  same(ledger().socket, 1, 'sockets');
  orders.dispose();
  service.dispose();
  await nothingLive();
  await noneUnhandled();
}
