// A relay of an earlier version, as it was recorded: it says what it said then, each thing after it has heard what it
// had heard then.

import { once } from 'node:events';
import { WebSocketServer } from 'ws';
import { byClient, Names } from './recordings.mjs';

/** Plays one dialect of a recording; `problem` is why it could not go on. */
export async function startOldRelay({ steps }) {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  const names = new Names();
  const relay = {
    url: `ws://127.0.0.1:${server.address().port}/ws`,
    heard: [],
    problem: undefined,
    async stop() {
      for (const socket of server.clients) socket.terminate();
      await new Promise((done) => server.close(done));
    },
  };
  let connection = 0;
  let head = 0;

  /** One connection's steps. What a heartbeat says comes when it comes, and is answered at once. */
  async function play(socket, own) {
    const waiting = [];
    let ring = () => {};
    const pong = steps.map((step) => step.relay).find((frame) => frame?.type === 'pong');
    socket.on('message', (data) => {
      const frame = JSON.parse(data.toString());
      for (const one of [frame].flat()) {
        relay.heard.push(one);
        if (one.type !== 'ping') waiting.push(one);
        else if (pong) {
          const payload = { ...pong.payload, timestamp: one.payload.timestamp, server_time: Date.now() };
          if (payload.seq !== undefined) payload.seq = head;
          socket.send(JSON.stringify({ ...pong, payload }));
        }
      }
      ring();
    });
    const gone = once(socket, 'close').then(([code]) => ({ code }));
    const heard = async (type) => {
      for (;;) {
        const at = waiting.findIndex((frame) => frame.type === type);
        if (at >= 0) return waiting.splice(at, 1)[0];
        const rung = new Promise((done) => (ring = () => done('rung')));
        if ((await Promise.race([rung, gone])) !== 'rung') throw new Error(`the client closed before it sent ${type}`);
      }
    };
    for (const step of own) {
      if (step.client) {
        const recorded = [step.client].flat();
        for (const frame of recorded) {
          if (frame.type === 'ping') continue;
          const sent = await heard(frame.type);
          // What a client makes itself it makes anew.
          if (frame.id !== undefined) names.learn(frame.id, sent.id, frame.type);
        }
      } else if (step.relay) {
        for (const frame of [step.relay].flat()) if (frame.seq > head) head = frame.seq;
        if (step.relay.type !== 'pong') socket.send(JSON.stringify(names.apply(step.relay)));
      } else if (step.close) {
        if (byClient(step.code)) {
          const { code } = await gone;
          if (code !== step.code) throw new Error(`closed ${code}, not ${step.code}`);
        } else if (step.code === 1006) socket.terminate();
        else socket.close(step.code, step.reason);
      }
    }
  }

  server.on('connection', (socket) => {
    connection += 1;
    const number = connection;
    socket.on('error', () => {}); // `close` follows
    const own = steps.filter((step) => (step.on ?? step.close) === number);
    if (own.length === 0) relay.problem ??= `connection ${number} was not there then`;
    play(socket, own).catch((error) => (relay.problem ??= `connection ${number}: ${error.message}`));
  });
  return relay;
}
