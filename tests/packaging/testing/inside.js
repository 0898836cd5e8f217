import { createTautline } from 'tautline';
import { createTestRelay } from 'tautline/testing';

const globals = () => [WebSocket, fetch, setTimeout, Date, Math.random, performance.now];
const before = globals();
const relay = (await createTestRelay()).install();
const client = await createTautline({ url: relay.url, restaurantId: relay.restaurant, getToken: () => relay.token() });
client.orders.initialize();
await client.service.connect();
relay.createOrder();
relay.fault('cut');
await relay.clock.advance(30_000);
const frame = new Promise(requestAnimationFrame);
await relay.clock.advance(16);
await frame;
const found = { state: client.service.getConnectionState(), orders: client.orders.orders().length, fetched: (await client.orders.fetchOrders()).orders.length };
client.dispose();
relay.dispose();
console.log(JSON.stringify({ ...found, restored: globals().every((one, n) => one === before[n]) }));
