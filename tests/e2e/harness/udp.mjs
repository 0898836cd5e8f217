// Datagrams between pages and a relay's calls, which a test can swallow.

import { createSocket } from 'node:dgram';

const bound = (socket, port = 0) => new Promise((resolve, reject) => socket.once('error', reject).bind(port, '127.0.0.1', () => resolve(socket.address().port)));

/** A port of UDP that nothing uses. */
export async function freePort() {
  const socket = createSocket('udp4');
  const port = await bound(socket);
  await new Promise((resolve) => socket.close(resolve));
  return port;
}

/** A proxy before the relay's UDP port; each page has a socket of its own behind it, as behind a NAT. */
export async function startUdpProxy(target) {
  const front = createSocket('udp4');
  const port = await bound(front);
  const behind = new Map();
  const proxy = {
    port,
    /** Nothing gets through, either way. */
    cut: false,
    /** One of so many datagrams is lost, either way; 0: none. */
    losesOneOf: 0,
    /** Each arrives so much later. */
    delayMs: 0,
    async stop() {
      proxy.cut = true;
      const sockets = [front, ...behind.values()];
      await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.close(resolve))));
    },
  };
  let passed = 0;
  const pass = (send) => {
    passed += 1;
    if (proxy.cut || (proxy.losesOneOf > 0 && passed % proxy.losesOneOf === 0)) return;
    if (proxy.delayMs > 0) setTimeout(() => proxy.cut || send(), proxy.delayMs);
    else send();
  };
  front.on('message', (datagram, { address, port: from }) => {
    const name = `${address}:${from}`;
    if (!behind.has(name)) {
      const socket = createSocket('udp4');
      socket.on('message', (answer) => pass(() => front.send(answer, from, address)));
      behind.set(name, socket);
    }
    pass(() => behind.get(name).send(datagram, target, '127.0.0.1'));
  });
  return proxy;
}
