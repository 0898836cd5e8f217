// The names that users build on (docs/api.md) are in the running package and in its declarations.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import ts from 'typescript';
import { ERROR_CODES } from '../dist/errors.js';
import * as tautline from '../dist/index.js';
import { problems } from './snippets.mjs';

const CLASSES = {
  WebSocketService: ['connect', 'disconnect', 'dispose', 'freshness', 'getConnectionState', 'isConnected', 'listenerCount', 'messages', 'off', 'on', 'onOutbox', 'once', 'outbox', 'discard', 'reconnectNow', 'recording', 'removeAllListeners', 'request', 'retry', 'role', 'send', 'setFilter', 'setToken', 'stats', 'subscribe'],
  ConnectionManager: ['acquire', 'connect', 'disconnect', 'dispose', 'forceDisconnect', 'getStatus'],
  OrderUpdates: ['cancelOrder', 'cleanup', 'createOrder', 'dispose', 'fetchOrder', 'fetchOrders', 'initialize', 'onOrderUpdate', 'onOrders', 'orders', 'requestSync', 'updateItemStatus', 'updateOrderStatus'],
};
CLASSES.VoiceConnection = ['connect', 'disableMicrophone', 'disconnect', 'dispose', 'enableMicrophone', 'getConnectionState', 'getDataChannel', 'getMicrophoneStream', 'getPeerConnection', 'interrupt', 'isConnected', 'isConnecting', 'isMuted', 'listenerCount', 'off', 'on', 'once', 'reconnect', 'removeAllListeners', 'resumeAudio', 'send', 'setMicrophoneDevice', 'setMicrophoneStream', 'setOutputDevice', 'setupMicrophone', 'startTalking', 'stats', 'stopTalking', 'transcript'];
CLASSES.WebSocketPool = ['connect', 'disconnect', 'dispose', 'getConnectionState', 'getHealthStatus', 'getStatistics', 'isConnected', 'listenerCount', 'off', 'on', 'once', 'removeAllListeners', 'send', 'setFilter', 'subscribe'];
const OBJECTS = { resources: ['counts', 'list', 'memory', 'onChange', 'register', 'shutdownAll'] };
const TYPES = ['Tautline', 'TautlineEvents', 'Lease', 'SendHandle', 'Ack', 'Entry', 'SetAside', 'Freshness', 'Stats', 'ConnectionState', 'Role', 'ResourceKind', 'Order', 'NewOrder', 'Item', 'OrderUpdate', 'ErrorCode', 'EventFilter', 'OrderConditions', 'VoiceEvents', 'VoiceState', 'VoiceStats', 'VoiceAlarm', 'TranscriptItem', 'ToolCall', 'RealtimeEvent', 'RealtimeSession', 'PoolOptions', 'PoolMessage', 'PoolEvents', 'MemberHealth', 'PoolStatistics', 'LoadBalancingStrategy', 'MessagePriority'];
const OPTIONS = ['url', 'restaurantId', 'getToken', 'reconnectInterval', 'maxReconnectDelay', 'maxReconnectAttempts', 'connectTimeout', 'heartbeatInterval', 'pongTimeoutMs', 'outboxLimit', 'outboxTtlMs', 'outboxStorage', 'authProbeInterval', 'staleAfter', 'client', 'subprotocol', 'share', 'debug'];
const POOL_OPTIONS = ['urls', 'maxConnections', 'loadBalancingStrategy', 'enableFailover', 'healthCheckInterval', 'messageQueueSize'];
const VOICE_OPTIONS = ['relay', 'callsUrl', 'model', 'session', 'restaurantId', 'iceServers', 'microphone', 'startMuted', 'muteAudioOutput', 'connectTimeoutMs', 'maxReconnectAttempts', 'getToken', 'fallback', 'debug', 'transport', 'socketUrl', 'workletUrl'];
const VOICE_EVENTS = ['connection.change', 'connected', 'dataChannelReady', 'dataChannelMessage', 'transcript', 'tool.call', 'track.received', 'level', 'speaking', 'microphone.muted', 'microphone.ended', 'microphone.denied', 'needsGesture', 'ice.disconnection', 'disconnection', 'reconnect.needed', 'connection.timeout', 'fallback', 'rollover', 'stats', 'alarm', 'error'];
const EVENTS = ['stateChange', 'stale', 'fresh', 'connected', 'disconnected', 'reconnecting', 'degraded', 'error', 'message', 'resumed', 'gap', 'maxReconnectAttemptsReached', 'latency', 'role'];
const POOL_EVENTS = ['stateChange', 'failover', 'health', 'gap', 'error', 'message'];
const ERROR = ['code', 'retryable', 'cause', 'outcome', 'nackCode', 'closeCode', 'closeReason', 'status', 'timeoutMs', 'stage', 'message', 'name', 'stack', 'retryAfterMs', 'serverCode'];

const entry = new URL('../dist/index.d.ts', import.meta.url).pathname;
const program = ts.createProgram([entry], { target: ts.ScriptTarget.ES2022, lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'], moduleResolution: ts.ModuleResolutionKind.Bundler, module: ts.ModuleKind.ESNext, types: [] });
const checker = program.getTypeChecker();
const exported = new Map(checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry))).map((symbol) => [symbol.name, symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol]));
const named = (type) => checker.getPropertiesOfType(type).map(({ name }) => name).filter((name) => !/^(__|#)/.test(name));
const instance = (name) => named(checker.getDeclaredTypeOfSymbol(exported.get(name)));
const sorted = (names) => [...names].sort();

test('the declarations compile on their own', () => {
  const errors = ts.getPreEmitDiagnostics(program).map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
  assert.deepEqual(errors, []);
});

test('what is exported at run time is what is declared', () => {
  assert.deepEqual(sorted(Object.keys(tautline)), sorted(['default', 'initSync', 'createTautline', 'TautlineError', 'Recording', 'WebRTCConnection', ...Object.keys(CLASSES), ...Object.keys(OBJECTS)]));
  for (const name of [...Object.keys(tautline), ...TYPES]) assert.ok(exported.has(name), `${name} is declared`);
});

for (const [name, methods] of Object.entries(CLASSES)) {
  test(`${name} has these methods and no others`, () => {
    assert.deepEqual(sorted(instance(name)), sorted(methods));
    const running = Object.getOwnPropertyNames(tautline[name].prototype).filter((method) => method !== 'constructor');
    assert.deepEqual(sorted(running), sorted(methods));
    assert.equal(typeof tautline[name].prototype[Symbol.dispose ?? Symbol.for('Symbol.dispose')], 'function');
  });
}

test('core is all the rest, over a module of its own', async () => {
  const core = await import('tautline/core');
  assert.deepEqual(sorted(Object.keys(core)), sorted(Object.keys(tautline).filter((name) => !['VoiceConnection', 'WebRTCConnection'].includes(name))));
  assert.notEqual(core.WebSocketService, tautline.WebSocketService);
  const exports = (path) => WebAssembly.Module.exports(new WebAssembly.Module(readFileSync(new URL(path, import.meta.url)))).map(({ name }) => name);
  assert.ok(exports('../wasm/tautline_bg.wasm').includes('voiceconnection_new'));
  assert.deepEqual(exports('../core/wasm/tautline_bg.wasm').filter((name) => name.includes('voice')), []);
});

test('inline is all of it, the same classes', async () => {
  const inline = await import('tautline/inline');
  assert.deepEqual(sorted(Object.keys(inline)), sorted(Object.keys(tautline)));
  assert.deepEqual(sorted(Object.keys(tautline).filter((name) => inline[name] !== tautline[name])), ['createTautline', 'default']);
});

test('resources has these methods and no others', () => {
  assert.deepEqual(sorted(Object.keys(tautline.resources)), OBJECTS.resources);
});

test('options, events and error fields are declared', () => {
  assert.deepEqual(sorted(instance('ServiceOptions')), sorted(OPTIONS));
  assert.deepEqual(sorted(instance('TautlineOptions')), sorted([...OPTIONS, 'module', 'lingerMs']));
  // Messages of known types are events too, and are named by them.
  const events = (name) => sorted(instance(name).filter((event) => !event.includes(':')));
  assert.deepEqual(events('TautlineEvents'), sorted(EVENTS));
  assert.deepEqual(sorted(instance('TautlineError')), sorted(ERROR));
  assert.deepEqual(sorted(instance('VoiceOptions')), sorted(VOICE_OPTIONS));
  assert.deepEqual(sorted(instance('VoiceEvents')), sorted(VOICE_EVENTS));
  assert.deepEqual(sorted(instance('PoolOptions')), sorted([...OPTIONS.filter((name) => !['url', 'outboxLimit', 'outboxStorage', 'share'].includes(name)), ...POOL_OPTIONS]));
  assert.deepEqual(events('PoolEvents'), sorted(POOL_EVENTS));
});

test('the README names every option and every error code, and its example compiles', () => {
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  for (const name of [...OPTIONS, 'module', 'lingerMs', ...VOICE_OPTIONS, ...POOL_OPTIONS, ...ERROR_CODES]) assert.ok(readme.includes(`\`${name}\``), name);
  const page = 'declare const showBadge: (state: string) => void, showBanner: (text: string) => void, hideBanner: () => void, render: (list: readonly object[]) => void, beep: () => void, button: HTMLButtonElement, meter: HTMLMeterElement, addToOrder: (args: string) => string;\n';
  const { count, problems: said } = problems('readme', readme, page);
  assert.deepEqual(said, []);
  assert.ok(count > 1, `${count}`);
});
