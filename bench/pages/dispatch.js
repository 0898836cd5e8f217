// In the page: the same subscriber behind each client.

import { Centrifuge } from 'centrifuge';
import PartySocket from 'partysocket/ws';
import init, { resources, WebSocketService } from 'tautline';

const socketUrl = (name) => `ws://${location.host}/${name}`;

/** What has been delivered; the subscriber looks at the payload, so that nobody gets by without reading it. */
const heard = { events: 0, letters: 0, first: 0, last: 0, due: 0, done: () => {} };
function subscriber(payload) {
  heard.events += 1;
  heard.letters += payload.order.id.length;
  if (heard.events === 1) heard.first = performance.now();
  if (heard.events === heard.due) {
    heard.last = performance.now();
    heard.done();
  }
}

/** What a page would write with nothing but the browser. */
function dispatch(data) {
  const message = JSON.parse(data);
  switch (message.type) {
    case 'order:created':
      subscriber(message.payload);
      break;
    case 'connected':
    case 'pong':
      break;
    default:
  }
}

const opened = (socket) => new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }));

/** Each connects and answers what closes it. */
const clients = {
  async bare() {
    const socket = new WebSocket(socketUrl('bare'));
    socket.onmessage = (event) => dispatch(event.data);
    await opened(socket);
    return () => socket.close();
  },
  async partysocket() {
    const socket = new PartySocket(socketUrl('partysocket'));
    socket.addEventListener('message', (event) => dispatch(event.data));
    await opened(socket);
    return () => socket.close();
  },
  async centrifuge() {
    const client = new Centrifuge(socketUrl('centrifuge'));
    const subscription = client.newSubscription('orders');
    subscription.on('publication', ({ data }) => {
      switch (data.type) {
        case 'order:created':
          subscriber(data.payload);
          break;
        default:
      }
    });
    const subscribed = new Promise((resolve) => subscription.once('subscribed', resolve));
    subscription.subscribe();
    client.connect();
    await subscribed;
    return () => client.disconnect();
  },
  async tautline() {
    await init();
    const service = new WebSocketService({ url: socketUrl('tautline'), getToken: () => 'token' });
    service.subscribe('order:created', subscriber);
    await service.connect();
    return () => service.dispose();
  },
};

let close = () => {};
window.bench = {
  async open(name) {
    close = await clients[name]();
  },
  /** Answers once `due` events have been delivered. */
  expect(due) {
    Object.assign(heard, { events: 0, letters: 0, due });
    const { promise, resolve } = Promise.withResolvers();
    heard.done = resolve;
    window.bench.delivered = promise.then(() => ({ ms: heard.last - heard.first, letters: heard.letters }));
  },
  close: () => close(),
  wasmBytes: () => resources.memory().wasmBytes,
  ready: true,
};
