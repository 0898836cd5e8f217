// Clients of earlier versions against this relay: each frame they sent in their recorded life is sent again, and each
// answer must hold what the recorded one held.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WebSocket } from 'ws';
import { startRelay } from '../e2e/harness/relay.mjs';
import { until } from './life.mjs';
import { byClient, DIALECTS, Names, recordings } from './recordings.mjs';
import { TOKEN } from './socket.mjs';

/** What a client of any version knows to be there without being asked. */
const UNASKED = ['cursor', 'pong'];

class Screen {
  frames = [];

  constructor(url) {
    this.socket = new WebSocket(url);
    this.opened = new Promise((resolve, reject) => this.socket.once('open', resolve).once('error', reject));
    this.closed = new Promise((resolve) => this.socket.once('close', (code, reason) => resolve({ code, reason: reason.toString() })));
    this.socket.on('message', (data) => {
      for (const frame of [JSON.parse(data.toString())].flat()) {
        this.position(frame);
        this.frames.push(frame);
      }
    });
    this.socket.on('error', () => {}); // `close` follows
  }

  /** As a v1 client keeps it: a jump that nothing explains is a gap, and it would ask for a snapshot. */
  position(frame) {
    if (frame.type === 'auth:success' && frame.epoch !== undefined) this.at = frame.resumed ? this.resumeAt : frame.seq;
    else if (frame.type === 'sync_complete' && frame.payload.seq !== undefined) this.at = frame.payload.seq;
    else if (frame.type === 'cursor') {
      if (frame.from > this.at) this.gap ??= frame;
      this.at = frame.seq;
    } else if (frame.seq !== undefined && frame.payload !== undefined && frame.epoch !== undefined) {
      if (this.at !== undefined && frame.seq !== this.at + 1) this.gap ??= frame;
      this.at = frame.seq;
    }
  }

  /** Takes out the frame that is meant. */
  async take(recorded, names) {
    const id = recorded.id === undefined ? undefined : names.of(recorded.id);
    const order = recorded.payload?.order_id ?? recorded.payload?.order?.order_number;
    const means = (frame) => {
      const answers = recorded.type === 'nack' && recorded.error.code === 'invalid' ? ['ack', 'nack'] : [recorded.type];
      if (!answers.includes(frame.type) || frame.id !== id) return false;
      const here = frame.payload?.order_id ?? frame.payload?.order?.order_number;
      return order === undefined || here === order || here === names.of(order);
    };
    const index = await until(`${JSON.stringify(recorded)} among ${JSON.stringify(this.frames)}`, () => this.frames.findIndex(means) + 1);
    return this.frames.splice(index - 1, 1)[0];
  }
}

async function replay(recording, dialect) {
  const { steps } = recording[dialect];
  const relay = await startRelay({ www: null, args: ['--heartbeat', '1s'] });
  const names = new Names();
  const screens = new Map();
  let compared = 0;
  const world = {
    async post({ number, made }) {
      names.match(made, await relay.postOrder({ order_number: number }), `order ${number}`);
    },
    async publish({ type, payload }) {
      assert.equal((await relay.api('POST', '/events', { type, payload }, { role: 'service' })).status, 202);
    },
    cut: () => relay.trouble('cut'),
    restart: () => relay.restart(),
  };
  try {
    for (const [index, step] of steps.entries()) {
      const where = `step ${index}`;
      if (step.world) await world[step.world](step);
      else if (step.open) {
        const screen = new Screen(`${relay.url.replace('http', 'ws')}/ws?restaurant_id=demo`);
        screens.set(step.open, screen);
        await screen.opened;
      } else if (step.client) {
        const screen = screens.get(step.on);
        const frame = names.apply(step.client);
        if (frame.token === TOKEN) frame.token = await relay.token({ role: 'manager' });
        if (frame.resume) screen.resumeAt = frame.resume.seq;
        screen.socket.send(JSON.stringify(frame));
      } else if (step.relay) {
        for (const recorded of [step.relay].flat()) {
          const frame = await screens.get(step.on).take(recorded, names);
          // Filters came later: what was refused may be granted.
          if (recorded.type !== frame.type) continue;
          names.match(recorded, frame, `${where} ${recorded.type}`);
          compared += 1;
        }
      } else if (step.close) {
        const screen = screens.get(step.close);
        if (byClient(step.code)) screen.socket.close(step.code);
        const { code, reason } = await screen.closed;
        if (!byClient(step.code)) {
          assert.equal(code, step.code, where);
          const wait = /reconnect_after_ms=\d+/;
          assert.equal(wait.test(reason), wait.test(step.reason), `${where}: ${reason}`);
        }
      }
    }
    for (const screen of screens.values()) {
      assert.equal(screen.gap, undefined, 'no gap');
      const more = screen.frames.map(({ type }) => type).filter((type) => !UNASKED.includes(type));
      assert.deepEqual(more, [], 'it is sent nothing that it would not know');
    }
    return compared;
  } finally {
    for (const { socket } of screens.values()) socket.terminate();
    await relay.stop();
  }
}

for (const recording of recordings()) {
  for (const dialect of DIALECTS) {
    test(`a client of ${recording.version} in ${dialect} finds what it relies on`, async () => {
      const answers = recording[dialect].steps.flatMap(({ relay }) => relay ?? []).length;
      const compared = await replay(recording, dialect);
      // All but a refusal that may have become a grant.
      assert.ok(compared >= answers - 1 && compared > 15, `${compared} of ${answers} answers compared`);
    });
  }
}
