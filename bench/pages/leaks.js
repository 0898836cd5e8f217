// In the page: each client made, connected and let go of again, as often as asked.

import * as Ably from 'ably';
import { Centrifuge } from 'centrifuge';
import PartySocket from 'partysocket/ws';
import { Socket } from 'phoenix';
import { io } from 'socket.io-client';
import init, { resources, WebSocketService } from 'tautline';

const socketUrl = (name) => `ws://${location.host}/${name}`;
const once = (object, event) => new Promise((resolve) => object.once(event, resolve));

/** One round of each, by its own means of letting go. */
const rounds = {
  async bare() {
    const socket = new WebSocket(socketUrl('bare'));
    await new Promise((resolve) => (socket.onopen = resolve));
    const closed = new Promise((resolve) => (socket.onclose = resolve));
    socket.close();
    await closed;
  },
  async tautline() {
    await init();
    const service = new WebSocketService({ url: socketUrl('tautline'), getToken: () => 'token' });
    await service.connect();
    service.dispose();
  },
  async phoenix() {
    const socket = new Socket(socketUrl('phoenix'));
    await new Promise((resolve) => {
      socket.onOpen(resolve);
      socket.connect();
    });
    await new Promise((resolve) => socket.disconnect(resolve));
  },
  async ably() {
    const client = new Ably.Realtime({
      token: 'token', tls: false, useBinaryProtocol: false, transports: ['web_socket'], realtimeHost: location.hostname, restHost: location.hostname, port: Number(location.port),
      fallbackHosts: [], disableConnectivityCheck: true, wsConnectivityCheckUrl: socketUrl('bare'), logLevel: 0,
    });
    await once(client.connection, 'connected');
    const closed = once(client.connection, 'closed');
    client.close();
    await closed;
  },
  async centrifuge() {
    const client = new Centrifuge(socketUrl('centrifuge'));
    const connected = once(client, 'connected');
    client.connect();
    await connected;
    const disconnected = once(client, 'disconnected');
    client.disconnect();
    await disconnected;
  },
  async 'socket.io'() {
    const socket = io(`ws://${location.host}`, { transports: ['websocket'], forceNew: true });
    await new Promise((resolve) => socket.once('connect', resolve));
    const disconnected = new Promise((resolve) => socket.once('disconnect', resolve));
    socket.disconnect();
    await disconnected;
  },
  async partysocket() {
    const socket = new PartySocket(socketUrl('partysocket'));
    await new Promise((resolve) => socket.addEventListener('open', resolve, { once: true }));
    const closed = new Promise((resolve) => socket.addEventListener('close', resolve, { once: true }));
    socket.close();
    await closed;
  },
};

window.bench = {
  async rounds(name, count) {
    for (let n = 0; n < count; n += 1) await rounds[name]();
  },
  wasmBytes: () => resources.memory().wasmBytes,
  /** What tautline's ledger holds. */
  held: () => Object.values(resources.counts()).reduce((sum, count) => sum + count, 0),
  ready: true,
};
