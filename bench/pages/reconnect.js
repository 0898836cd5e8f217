// In the page: from nothing to connected, and from a cut to current again.

const socketUrl = (name) => `ws://${location.host}/${name}`;

/** Each is loaded when it is asked for, as a page would that has nothing yet. */
const clients = {
  async tautline(reached) {
    const { default: init, WebSocketService } = await import('tautline');
    reached('code');
    await init();
    reached('wasm');
    const service = new WebSocketService({ url: socketUrl('tautline'), getToken: () => 'token' });
    await service.connect();
    service.subscribe('*', (payload) => window.bench.heard(payload));
    return () => service.dispose();
  },
  async centrifuge(reached) {
    const { Centrifuge } = await import('centrifuge');
    reached('code');
    const client = new Centrifuge(socketUrl('centrifuge'), { getToken: () => Promise.resolve('token') });
    const subscription = client.newSubscription('orders');
    subscription.on('publication', ({ data }) => window.bench.heard(data));
    const subscribed = new Promise((resolve) => subscription.once('subscribed', resolve));
    subscription.subscribe();
    client.connect();
    await subscribed;
    return () => client.disconnect();
  },
};

window.bench = {
  heard: () => {},
  close: () => {},
  /** Milliseconds from asking for the code to connected, wasm and all (`ms`), and what of them each step took. */
  async first(name) {
    const began = performance.now();
    let last = began;
    const steps = {};
    const reached = (step) => {
      const now = performance.now();
      steps[step] = now - last;
      last = now;
    };
    window.bench.close = await clients[name](reached);
    reached('connect');
    return { ...steps, ms: last - began };
  },
  /** Keeps the orders of a real relay. */
  async keep(url, token) {
    const { createTautline } = await import('tautline');
    const { service, orders, dispose } = await createTautline({ url, restaurantId: 'grow', getToken: () => token });
    Object.assign(window.bench, { service, orders, close: dispose });
    orders.initialize();
    await service.connect();
  },
  /** The time from the next cut to when the order of `until` is shown. */
  back() {
    const { service, orders } = window.bench;
    const order = Promise.withResolvers();
    window.bench.until = (id) => order.resolve(id);
    window.bench.armed = Promise.resolve();
    return new Promise((resolve) => {
      service.once('disconnected', async () => {
        const began = performance.now();
        const id = await order.promise;
        const shown = () => orders.orders().some((one) => one.id === id);
        const done = () => {
          if (!shown() || !service.isConnected()) return;
          off();
          resolve(performance.now() - began);
        };
        const off = orders.onOrders(done);
        done();
      });
    });
  },
  ready: true,
};
