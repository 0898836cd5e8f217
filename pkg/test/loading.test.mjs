// In a page (there is a `document`): what comes before the module is loaded, and how it is loaded.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { mock, test } from 'node:test';

globalThis.document = {};
const { ConnectionManager, default: init, initSync, TautlineError, WebSocketService } = await import('../dist/index.js');
const bytes = await readFile(new URL('../wasm/tautline_bg.wasm', import.meta.url));

test('before init() everything throws not_initialized, with the fix', () => {
  const fix = (error) => error instanceof TautlineError && error.code === 'not_initialized' && /await init\(\)/.test(error.message);
  assert.throws(() => new WebSocketService(), fix);
});

test('concurrent calls share one load, and after a failure it may be called again', async () => {
  const consoles = ['log', 'warn', 'error', 'info', 'debug'].map((name) => mock.method(console, name));
  const fetched = mock.method(globalThis, 'fetch', async () => {
    throw new TypeError('Failed to fetch');
  });

  const failing = [init('https://relay.example/t.wasm'), init('https://relay.example/t.wasm')];
  for (const load of failing) {
    await assert.rejects(load, (error) => error.code === 'wasm_unavailable' && error.retryable && error.cause instanceof TypeError);
  }
  assert.equal(fetched.mock.callCount(), 1);

  const compiled = mock.method(WebAssembly, 'instantiateStreaming');
  fetched.mock.mockImplementation(async () => new Response(bytes, { headers: { 'content-type': 'application/wasm' } }));
  const loading = [init('https://relay.example/t.wasm'), init(), init()];
  assert.throws(() => initSync(bytes), { code: 'invalid_argument' });
  await Promise.all(loading);
  await init();
  initSync(bytes);
  assert.equal(fetched.mock.callCount(), 2);
  assert.equal(compiled.mock.callCount(), 1);

  for (const { mock } of consoles) assert.deepEqual(mock.calls.map((call) => call.arguments), []);
  const service = new WebSocketService();
  assert.equal(service.getConnectionState(), 'disconnected');
  assert.throws(() => new ConnectionManager({}), { code: 'invalid_argument' });
  service.dispose();
});
