import { check, ledger, noneUnhandled, nothingLive, rejection, same, until } from '../support/host.js';
import { control, newOrder, plainSocket, restaurant } from '../support/server.js';

/** A service at the plain server, in a restaurant of its own. */
function serviceAt(WebSocketService, id, options = {}) {
  return new WebSocketService({ restaurantId: id, ...options }, plainSocket(), () => 'a-token');
}

export async function plainServer({ WebSocketService, OrderUpdates }) {
  const id = restaurant('plain');
  const service = serviceAt(WebSocketService, id);
  const states = [];
  service.on('stateChange', (state) => states.push(state), false);
  await service.connect(undefined, 20_000);
  check(service.isConnected(), 'connected');
  same(states, ['connecting', 'connected'], 'states');
  same(ledger().socket, 1, 'sockets on the ledger');

  const heard = [];
  service.subscribe('order:*', (payload, message) => heard.push([payload, message]));
  const updates = [];
  const orders = new OrderUpdates(service);
  orders.onOrderUpdate((update) => updates.push(update));
  orders.initialize();
  // Nobody acks here: written is all that can be known.
  await orders.createOrder(JSON.stringify(newOrder()));
  await until('the event', () => heard.length === 1 && updates.length === 1);
  const [payload, message] = heard[0];
  check(message.payload === payload, "the payload is the frame's own object");
  same(updates[0].action, 'created', 'action');
  check(updates[0].order === payload.order, "the order is the engine's own object");
  check(orders.orders()[0] === payload.order, 'orders() shows that object');
  check(orders.orders() === orders.orders(), 'the same array until something changed');

  const before = orders.orders();
  await orders.updateOrderStatus(payload.order.id, 'preparing', undefined, true);
  await until('the status', () => orders.orders()[0].status === 'preparing');
  check(orders.orders() !== before && before[0].status === 'new', 'a change makes new objects');

  const { done } = service.send('table:updated', '{"n":1}');
  same((await done).seq, undefined, 'no seq in a plain ack');
  await control(id, 'cut', {});
  await until('reconnected', () => service.isConnected() && states.filter((s) => s === 'connected').length === 2, 10_000);
  same((await control(id, 'state')).accepted, 2, 'connections');

  service.disconnect();
  same(service.getConnectionState(), 'disconnected', 'state');
  orders.dispose();
  service.dispose();
  await nothingLive();
  same((await rejection(service.connect())).code, 'disposed', 'connect() after dispose()');
  await noneUnhandled();
}

export async function hostileFrames({ WebSocketService, OrderUpdates }) {
  const id = restaurant('hostile');
  const service = serviceAt(WebSocketService, id, { reconnectInterval: 20, maxReconnectDelay: 100 });
  service.on('error', () => {}, false);
  const orders = new OrderUpdates(service);
  orders.onOrderUpdate(() => {});
  orders.initialize();
  service.subscribe('*', () => {});
  await service.connect(undefined, 20_000);
  const order = '{"id":"o1","status":"new","items":[{"id":"i1"}]}';
  const frames = [
    'null', '5', '"x"', '{}', '[]', '[[]]', '[null]', '[5,"x",{}]', '{"type":5}', '{"type":null}', '{"type":{}}', '{"type":["x"]}',
    '{"seq":"1"}', '{"type":"order:created","seq":"1"}', '{"type":"order:created","seq":-1}', '{"type":"order:created","seq":1e400}',
    '{"type":"order:created"}', '{"type":"order:created","payload":5}', '{"type":"order:created","payload":{"order":5}}',
    '{"type":"order:created","payload":{"order":{"id":5}}}', `{"type":"order:created","payload":{"order":${order}}}`,
    '{"type":"order:status_changed","payload":{"order_id":5,"status":[]}}', '{"type":"order:status_changed","payload":{"order_id":"o1","status":"x"}}',
    '{"type":"order:item_status_changed","payload":{"order_id":"o1","item_id":"i1","status":"ready"}}',
    '{"type":"orders:archived","payload":{"order_ids":[5,null,"o1"]}}', '{"type":"orders:archived","payload":{"order_ids":{}}}',
    '{"type":"ack"}', '{"type":"ack","id":5,"payload":null}', '{"type":"nack","id":"x"}', '{"type":"nack","id":"x","error":{"code":5}}',
    '{"type":"cursor","epoch":5,"from":"a","seq":{}}', '{"type":"sync_complete","payload":{"status":"snapshot","orders":5}}',
    '{"type":"sync_complete","payload":{"status":"snapshot","sync_id":"s","epoch":"e","seq":1,"part":9,"parts":0,"orders":[5,null,{}]}}',
    '{"type":"sync_complete","payload":7}', '{"type":"reset"}', '{"type":"reset","epoch":5}', '{"type":"pong","payload":[]}',
    '{"type":"connected","heartbeat_ms":-5}', '{"type":"auth:success","limits":5,"epoch":{},"seq":"x"}', '{"type":"auth:failed","code":7}',
    '{"type":"error","error":null}', '{"type":"degraded","payload":{}}', `{"type":"${'x'.repeat(100_000)}"}`, '{"type":"\\ud800"}',
    'not json', '{"type":"order:created","payload":{"order":', '', `${'['.repeat(2_000)}${']'.repeat(2_000)}`,
    '{"__proto__":{"type":"order:created"}}', '{"type":"toString"}', '{"type":"__proto__"}', '{"type":"constructor","payload":{"__proto__":null}}',
  ];
  for (const text of frames) {
    await until('connected', () => service.isConnected(), 10_000);
    await control(id, 'frame', { text });
  }
  await until('connected after all of it', () => service.isConnected(), 10_000);
  let alive = false;
  service.subscribe('kds:update', () => (alive = true));
  await until('still delivering', async () => {
    await control(id, 'event', { type: 'kds:update', payload: {} });
    return alive;
  });
  orders.dispose();
  service.dispose();
  await nothingLive();
  await noneUnhandled();
}
