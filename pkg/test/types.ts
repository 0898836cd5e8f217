// Compiled, never run: what a page may write, and what the compiler must refuse. The declarations themselves are
// checked too (no `skipLibCheck`), with no more than ES2022 and the DOM.

import init, {
  createTautline,
  ConnectionManager,
  initSync,
  OrderUpdates,
  resources,
  TautlineError,
  VoiceConnection,
  WebRTCConnection,
  WebSocketPool,
  WebSocketService,
  type ConnectionState,
  type ErrorCode,
  type Lease,
  type Message,
  type NewOrder,
  type Order,
  type OrderUpdate,
  type ResourceKind,
  type Speaking,
  type ToolCall,
  type TranscriptItem,
  type VoiceState,
  type VoiceTransport,
  type VoiceStats,
} from 'tautline';

declare module 'tautline' {
  interface TautlineMessages {
    'table:updated': { readonly table: string };
  }
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_same: Same<A, B>): void {}

async function loading(): Promise<void> {
  await init();
  await init('/elsewhere.wasm');
  await init(new URL('https://a.example/t.wasm'));
  await init(fetch('/t.wasm'));
  await init({ module_or_path: fetch('/t.wasm') });
  initSync(new Uint8Array());
}

function pool(): void {
  const made = new WebSocketPool({ urls: ['wss://a.example', 'wss://b.example'] as const, loadBalancingStrategy: 'least-pending', getToken: () => 'x' });
  // @ts-expect-error addresses are needed
  new WebSocketPool({ maxConnections: 2 });
  // @ts-expect-error a pool's are urls
  new WebSocketPool({ urls: [], url: 'wss://a.example' });
  // @ts-expect-error no such strategy
  new WebSocketPool({ urls: [], loadBalancingStrategy: 'random' });
  made.on('failover', ({ from, to }) => same<[typeof from, typeof to], [string, string]>(true));
  made.on('health', ({ latencyMs }) => same<typeof latencyMs, number | null>(true));
  made.on('message:kds:update', ({ payload }) => same<typeof payload, unknown>(true));
  made.once('order:deleted', ({ payload }) => same<typeof payload.order_id, string>(true));
  made.subscribe('order:created', ({ order }) => same<typeof order, Order>(true));
  made.subscribe<{ n: number }>(/^kds:/, ({ n }, message) => same<[typeof n, typeof message], [number, Message<{ n: number }>]>(true));
  // @ts-expect-error no such event of a pool's
  made.on('reconnecting', () => {});
  void made.send({ type: 'kds:update', data: { n: 1 }, priority: 'high' });
  // @ts-expect-error priorities have names
  void made.send({ type: 'kds:update', priority: 1 });
  same<ReturnType<typeof made.getConnectionState>, ConnectionState>(true);
  new WebSocketService({ share: 'device' }).on('role', (role) => same<typeof role, 'leader' | 'follower' | 'solo'>(true));
  // @ts-expect-error no such way to share
  new WebSocketService({ share: 'all' });
  // @ts-expect-error a pool's connections are its own
  new WebSocketPool({ urls: [], share: 'device' });
  {
    using ends = made;
    void ends;
  }
}

function service(): void {
  const made = new WebSocketService({ url: () => Promise.resolve('wss://a.example'), restaurantId: undefined, getToken: ({ reason, attempt }) => (reason === 'renew' && attempt > 1 ? null : 'x') });
  new WebSocketService();
  new WebSocketService({ url: ['wss://a.example', 'wss://b.example'] });
  // @ts-expect-error milliseconds are numbers
  new WebSocketService({ reconnectInterval: '2s' });
  // @ts-expect-error addresses are text
  new WebSocketService({ url: [new URL('wss://a.example')] });
  // @ts-expect-error no such reason
  new WebSocketService({ getToken: ({ reason }) => (reason === 'later' ? null : 'x') });
  // @ts-expect-error not public
  made.free();

  const off: () => void = made.on('stateChange', (state) => same<typeof state, ConnectionState>(true));
  off();
  made.once('disconnected', ({ code, willReconnect }) => same<[typeof code, typeof willReconnect], [number, boolean]>(true));
  made.on('error', (error) => same<typeof error, TautlineError>(true));
  made.on('message:table:updated', ({ payload }) => same<typeof payload, { readonly table: string }>(true));
  made.on('order:created', ({ payload, seq }) => same<[typeof payload.order, typeof seq], [Order, number | undefined]>(true));
  made.on('table:updated', ({ payload }) => same<typeof payload, { readonly table: string }>(true));
  made.on('message:anything:else', ({ payload }) => same<typeof payload, unknown>(true));
  made.on('latency', async ({ rttMs }) => void rttMs);
  // @ts-expect-error no such event
  made.on('conected', () => {});

  made.subscribe('order:created', ({ order }) => same<typeof order, Order>(true));
  made.subscribe('table:updated', ({ table }) => same<typeof table, string>(true));
  made.subscribe<{ text: string }>('notification', ({ text }, { seq }) => same<[typeof text, typeof seq], [string, number | undefined]>(true));
  made.subscribe('order:*', (payload) => same<typeof payload, unknown>(true));

  const handle = made.send('table:clear', { table: '7' }, { ttlMs: 1000 });
  // @ts-expect-error read only
  handle.id = 'x';
  same<typeof handle.status, 'queued' | 'sent' | 'done' | 'failed'>(true);
  void made.request<{ filter: string }>('subscribe', { events: ['order:*'] }).then(({ result }) => result?.filter);
  void made.setFilter({ events: ['order:*'], filters: { table_number: [4, 'bar'], statuses: ['new', 'picked-up'] } }).then(() => made.setFilter(null));
  // @ts-expect-error no such state
  void made.setFilter({ filters: { statuses: ['done'] } });
  // @ts-expect-error no such member
  void made.setFilter({ filters: { table: 4 } });
  // @ts-expect-error a token is a string
  made.setToken(null);
}

async function orders(on: WebSocketService): Promise<void> {
  const set = new OrderUpdates(on);
  const order: NewOrder = { type: 'dine-in', items: [{ menu_item_id: 'a', name: 'A', quantity: 1, price: 9.5 }] };
  same<Awaited<ReturnType<typeof set.createOrder>>, Order>(true);
  await set.createOrder(order);
  await set.updateOrderStatus('1', 'picked-up', { optimistic: true, expectedStatus: 'ready' });
  // @ts-expect-error an item's state, not an order's
  await set.updateOrderStatus('1', 'served');
  // @ts-expect-error no such state
  await set.updateItemStatus('1', '2', 'picked-up');
  // @ts-expect-error orders are not written to
  set.orders()[0]!.status = 'ready';
  const page = await set.fetchOrders({ status: ['new', 'pending'], since: new Date(), limit: 50, minSeq: 4 });
  same<typeof page.nextCursor, string | undefined>(true);
}

function update(told: OrderUpdate): string | undefined {
  switch (told.action) {
    case 'created':
    case 'updated':
      same<typeof told.order, Order>(true);
      return told.order.id;
    case 'deleted':
      return told.reason;
    case 'status_changed':
      return told.status satisfies Order['status'];
    case 'item_status_changed':
      // @ts-expect-error an item is never picked up
      if (told.status === 'picked-up') return told.itemId;
      return told.previousStatus;
  }
  told satisfies never;
  return undefined;
}

async function sharing(on: WebSocketService): Promise<void> {
  const manager = new ConnectionManager(on, { lingerMs: 0 });
  const lease: Lease = await manager.acquire({ signal: AbortSignal.timeout(1000) });
  lease.release();
  same<ReturnType<typeof manager.getStatus>['connectionCount'], number>(true);
  const tautline = await createTautline({ module: '/t.wasm', lingerMs: 0, url: '/ws' });
  same<typeof tautline.orders, OrderUpdates>(true);
  tautline.dispose();
}

function ledger(): void {
  const counts = resources.counts();
  same<(typeof counts)['socket_closing'], number>(true);
  const kinds: Record<ResourceKind, number> = counts;
  void kinds;
  resources.register({ name: 'camera', kind: 'camera', priority: 'high', cleanup: async () => {} })();
  // @ts-expect-error no such priority
  resources.register({ name: 'camera', kind: 'camera', priority: 'urgent', cleanup: () => {} });
}

async function call(): Promise<void> {
  const made = new VoiceConnection({ relay: 'https://relay.example', getToken: ({ reason, attempt }) => (reason === 'rejected' && attempt > 1 ? null : 'ek_x'), startMuted: true, microphone: false });
  same<typeof WebRTCConnection, typeof VoiceConnection>(true);
  new VoiceConnection();
  // @ts-expect-error no such fallback
  new VoiceConnection({ fallback: 'fax' });
  new VoiceConnection({ fallback: 'websocket', transport: 'websocket', socketUrl: '/live', workletUrl: new URL('https://cdn.example/worklet.js') });
  await made.reconnect({ transport: 'webrtc' });
  made.on('fallback', ({ from, to, reason }) => same<[typeof from, typeof to, typeof reason], [VoiceTransport, VoiceTransport, TautlineError]>(true));
  made.on('rollover', (nothing) => same<typeof nothing, undefined>(true));
  // @ts-expect-error a token is never renewed within a call
  new VoiceConnection({ getToken: ({ reason }) => (reason === 'renew' ? null : 'x') });
  made.on('connection.change', (state) => same<typeof state, VoiceState>(true));
  made.on('transcript', (item) => same<typeof item, TranscriptItem>(true));
  made.on('tool.call', (told) => same<typeof told, ToolCall>(true));
  made.on('speaking', (told) => same<typeof told, Speaking>(true));
  made.on('event:response.done', ({ response }) => same<typeof response, unknown>(true));
  made.once('reconnect.needed', (error) => same<typeof error, TautlineError>(true));
  // @ts-expect-error no such event
  made.on('conected', () => {});
  await made.connect('ek_x', { signal: AbortSignal.timeout(1000) });
  same<ReturnType<typeof made.send>, string>(true);
  // @ts-expect-error an event has a type
  made.send({ item: {} });
  const stats = await made.stats();
  same<typeof stats, VoiceStats>(true);
  // @ts-expect-error read only
  made.transcript()[0]!.text = '';
  made.dispose();
}

function failure(error: unknown): string {
  if (!(error instanceof TautlineError)) return '';
  same<typeof error.code, ErrorCode>(true);
  // @ts-expect-error no such code
  if (error.code === 'nacked') return '';
  same<typeof error.nackCode, 'invalid_transition' | 'not_found' | 'conflict' | 'forbidden' | 'invalid' | 'id_reused' | 'rate_limited' | 'overloaded' | 'unavailable' | undefined>(true);
  return error.code;
}

export { call, failure, ledger, loading, orders, service, sharing, update };
