import { createTautline, resources } from 'tautline';

const { url, token } = window.given;
const client = await createTautline({ url, restaurantId: 'test', getToken: () => token });
const list = document.querySelector('ul');
client.orders.onOrders((orders) => list.replaceChildren(...orders.map((order) => Object.assign(document.createElement('li'), { textContent: order.id }))));
client.service.on('stateChange', (state) => (document.title = state));
client.orders.initialize();
await client.service.connect();
window.fetched = await client.orders.fetchOrders();
window.client = client;
window.held = () => resources.list().map(({ kind }) => kind);
