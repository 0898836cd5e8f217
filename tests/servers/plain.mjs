// A server that speaks only the plain dialect (docs/protocol.md section 1): no `seq`, no `epoch`, no acks, no
// resume, and `orders:sync` answered without orders. Beside the socket, `/control/…` lets a test inject events,
// cut connections, misbehave, and count frames. Everything can be kept to one restaurant with `?restaurant_id=`,
// the one in the socket's URL, so that tests do not meet.

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';

const now = () => new Date().toISOString();
const BODY_MAX = 1 << 20;

/** What a test may change for the connections of a restaurant to come. */
const DEFAULTS = {
  /** `false`: `connected` says `auth_required:false` and no auth is awaited. */
  authRequired: true,
  /** Tokens that are refused with `token_invalid` and close 1008. */
  refuse: [],
  /** `false`: pings go unanswered. */
  pongs: true,
};

export async function startPlainServer({ port = 0 } = {}) {
  const sockets = new Set();
  const rooms = new Map();

  function room(restaurant) {
    let found = rooms.get(restaurant);
    if (!found) {
      found = { settings: { ...DEFAULTS }, accepted: 0, received: {}, sent: {}, frames: [], orders: new Map(), closes: [] };
      rooms.set(restaurant, found);
    }
    return found;
  }

  function send(socket, frame) {
    const counts = room(socket.restaurant).sent;
    counts[frame.type] = (counts[frame.type] ?? 0) + 1;
    socket.send(JSON.stringify(frame));
  }

  function broadcast(restaurant, type, payload) {
    const frame = { type, payload, restaurant_id: restaurant, timestamp: now() };
    let count = 0;
    for (const socket of sockets) {
      if (socket.restaurant !== restaurant || !socket.authenticated) continue;
      send(socket, frame);
      count += 1;
    }
    return count;
  }

  const refuse = (socket, code, message) => send(socket, { type: 'error', error: { code, message } });

  /** Applied and told by the event alone: the plain dialect has no acks. */
  const commands = {
    'order:create'(socket, { order } = {}) {
      if (!Array.isArray(order?.items)) return refuse(socket, 'invalid', 'order.items is missing');
      const made = { ...order, id: randomUUID(), restaurant_id: socket.restaurant, status: 'new', created_at: now(), updated_at: now() };
      room(socket.restaurant).orders.set(made.id, made);
      return broadcast(socket.restaurant, 'order:created', { order: made });
    },
    'order:update_status'(socket, payload = {}) {
      const id = payload.order_id ?? payload.orderId;
      const order = room(socket.restaurant).orders.get(id);
      if (!order) return refuse(socket, 'not_found', 'no such order');
      const previous = order.status;
      Object.assign(order, { status: payload.status, updated_at: now() });
      return broadcast(socket.restaurant, 'order:status_changed', {
        order_id: id, orderId: id, status: payload.status, previous_status: previous, previousStatus: previous,
      });
    },
    'order:update_item_status'(socket, payload = {}) {
      const id = payload.order_id ?? payload.orderId;
      const itemId = payload.item_id ?? payload.itemId;
      const item = room(socket.restaurant).orders.get(id)?.items.find((one) => one.id === itemId);
      if (!item) return refuse(socket, 'not_found', 'no such item');
      const previous = item.status ?? 'pending';
      item.status = payload.status;
      return broadcast(socket.restaurant, 'order:item_status_changed', {
        order_id: id, orderId: id, item_id: itemId, itemId, status: payload.status, previous_status: previous, previousStatus: previous,
      });
    },
    'order:cancel'(socket, payload = {}) {
      return commands['order:update_status'](socket, { ...payload, status: 'cancelled' });
    },
  };

  function authenticate(socket, frame) {
    if (!frame.token || room(socket.restaurant).settings.refuse.includes(frame.token)) {
      send(socket, { type: 'auth:failed', code: 'token_invalid', error: 'the token is not accepted', timestamp: now() });
      socket.close(1008, 'auth failed');
      return;
    }
    socket.authenticated = true;
    send(socket, { type: 'auth:success', user_id: 'plain-user', restaurant_id: socket.restaurant, role: 'kitchen', timestamp: now() });
  }

  function receive(socket, text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return refuse(socket, 'invalid', 'not JSON');
    }
    const { received, frames, settings } = room(socket.restaurant);
    received[frame?.type] = (received[frame?.type] ?? 0) + 1;
    frames.push(frame);
    if (frames.length > 1_000) frames.shift();
    if (frame?.type === 'auth') return authenticate(socket, frame);
    if (!socket.authenticated) return socket.close(1008, 'auth first');
    if (frame?.type === 'ping') return settings.pongs && send(socket, { type: 'pong', payload: frame.payload, timestamp: now() });
    if (frame?.type === 'orders:sync') return send(socket, { type: 'sync_complete', payload: { status: 'synced' }, timestamp: now() });
    const command = commands[frame?.type];
    return command ? command(socket, frame.payload) : refuse(socket, 'invalid', `unknown type ${frame?.type}`);
  }

  const ws = new WebSocketServer({ noServer: true });
  ws.on('connection', (socket, request) => {
    socket.restaurant = new URL(request.url, 'http://plain').searchParams.get('restaurant_id') ?? 'demo';
    const here = room(socket.restaurant);
    here.accepted += 1;
    socket.authenticated = !here.settings.authRequired;
    sockets.add(socket);
    socket.on('message', (data, binary) => (binary ? socket.close(1003) : receive(socket, data.toString())));
    socket.on('error', () => {}); // `close` follows
    socket.on('close', (code, reason) => {
      sockets.delete(socket);
      here.closes.push({ code, reason: reason.toString() });
    });
    send(socket, { type: 'connected', auth_required: here.settings.authRequired, timestamp: now() });
  });

  /** POST bodies are JSON; each answer is JSON. */
  const control = {
    /** `{type, payload}` → to every connection of the restaurant. */
    event: (restaurant, { type, payload }) => ({ sent: broadcast(restaurant, type, payload) }),
    /** `{text}` → as it is, JSON or not. */
    frame: (restaurant, { text }) => {
      const to = [...sockets].filter((socket) => socket.restaurant === restaurant);
      for (const socket of to) socket.send(text);
      return { sent: to.length };
    },
    /** `{}` → connections reset; `{code, reason}` → closed with that code. */
    cut: (restaurant, { code, reason }) => {
      const to = [...sockets].filter((socket) => socket.restaurant === restaurant);
      for (const socket of to) code ? socket.close(code, reason) : socket.terminate();
      return { cut: to.length };
    },
    /** Any of `DEFAULTS`, from now on. */
    settings: (restaurant, changes) => Object.assign(room(restaurant).settings, changes),
    /** Forgets counts, orders and settings. */
    reset: (restaurant) => {
      rooms.delete(restaurant);
      return {};
    },
    /** What was seen: connections now and ever, frames by type both ways, the last frames received, the closes. */
    state: (restaurant) => {
      const { accepted, received, sent, frames, closes, orders } = room(restaurant);
      const connections = [...sockets].filter((socket) => socket.restaurant === restaurant).length;
      return { connections, accepted, received, sent, frames, closes, orders: [...orders.values()] };
    },
  };

  async function answer(request) {
    const url = new URL(request.url, 'http://plain');
    if (url.pathname === '/healthz') return [200, 'ok'];
    const action = control[url.pathname.replace('/control/', '')];
    if (!action) return [404, { error: 'no such path' }];
    let text = '';
    for await (const chunk of request) {
      text += chunk;
      if (text.length > BODY_MAX) return [413, { error: 'too large' }];
    }
    return [200, action(url.searchParams.get('restaurant_id') ?? 'demo', text ? JSON.parse(text) : {})];
  }

  const http = createServer(async (request, response) => {
    // The page of a browser test has a port of its own.
    const headers = { 'access-control-allow-origin': request.headers.origin ?? 'null', 'access-control-allow-headers': 'authorization, content-type', vary: 'origin' };
    if (request.method === 'OPTIONS') return response.writeHead(204, headers).end();
    const [status, body] = await answer(request).catch((error) => [400, { error: error.message }]);
    return response.writeHead(status, { ...headers, 'content-type': 'application/json' }).end(JSON.stringify(body));
  });
  http.on('upgrade', (request, socket, head) => {
    if (new URL(request.url, 'http://plain').pathname !== '/ws') return socket.destroy();
    return ws.handleUpgrade(request, socket, head, (client) => ws.emit('connection', client, request));
  });
  await new Promise((resolve, reject) => http.once('error', reject).listen(port, '127.0.0.1', resolve));

  return {
    url: `http://127.0.0.1:${http.address().port}`,
    async stop() {
      for (const socket of sockets) socket.terminate();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

// By hand: `node tests/servers/plain.mjs [port]`.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await startPlainServer({ port: Number(process.argv[2] ?? 0) });
  console.log(`listening on ${server.url}`);
}
