// This client against relays of earlier versions: it lives the life that was recorded with theirs, and must come to the
// same orders, told the same, without an error.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import * as client from 'tautline';
import { live } from './life.mjs';
import { startOldRelay } from './old-relay.mjs';
import { DIALECTS, recordings } from './recordings.mjs';
import { notingWebSocket } from './socket.mjs';

client.initSync(readFileSync(fileURLToPath(import.meta.resolve('tautline/tautline_bg.wasm'))));

for (const recording of recordings()) {
  for (const dialect of DIALECTS) {
    test(`a relay of ${recording.version} in ${dialect} is understood`, async () => {
      const steps = [];
      globalThis.WebSocket = notingWebSocket((step) => steps.push(step));
      const relay = await startOldRelay(recording[dialect]);
      const nothing = () => Promise.resolve();
      let tokens = 0;
      const world = {
        token: async () => `token-${(tokens += 1)}`,
        holdTokens: () => () => {},
        post: nothing,
        publish: nothing,
        cut: nothing,
        restart: nothing,
        seen: (matches) => steps.some((step) => step.relay && [step.relay].flat().some(matches)),
        closed: () => steps.findLast((step) => step.open)?.open === steps.findLast((step) => step.close)?.close,
      };
      try {
        const lived = await live({ client, url: relay.url, plain: dialect === 'plain', world }).catch((error) => {
          throw new Error(`${error.message}; the relay: ${relay.problem}; it heard ${JSON.stringify(relay.heard.map(({ type }) => type))}`, { cause: error });
        });
        assert.equal(relay.problem, undefined);
        assert.deepEqual(lived, recording[dialect].lived);
        assert.deepEqual(client.resources.list(), [], 'nothing is left');
      } finally {
        await relay.stop();
      }
    });
  }
}
