import { functionOf, oneOf, optionalBoolean, optionalCount, optionalMs, optionalText, optionsOf, present, text } from './check.js';
import { TautlineError, invalid } from './errors.js';
import type { ServiceOptions } from './types.js';

const STORAGES = ['memory', 'indexeddb'] as const;

/** The service's options as the module takes them: what is data, and the two that may be functions. */
export function serviceOptions(options: ServiceOptions | undefined) {
  const given = optionsOf('new WebSocketService()', options);
  const client = given.client === undefined ? undefined : optionsOf('client', given.client);
  const config = present({
    restaurantId: optionalText('restaurantId', given.restaurantId),
    reconnectInterval: optionalMs('reconnectInterval', given.reconnectInterval),
    maxReconnectDelay: optionalMs('maxReconnectDelay', given.maxReconnectDelay),
    maxReconnectAttempts: attempts(given.maxReconnectAttempts),
    connectTimeout: optionalMs('connectTimeout', given.connectTimeout, 1),
    heartbeatInterval: optionalMs('heartbeatInterval', given.heartbeatInterval, 1),
    pongTimeoutMs: optionalMs('pongTimeoutMs', given.pongTimeoutMs, 1),
    outboxLimit: optionalCount('outboxLimit', given.outboxLimit),
    outboxTtlMs: optionalMs('outboxTtlMs', given.outboxTtlMs),
    // The module knows only that somebody keeps it.
    outboxStored: (given.outboxStorage !== undefined && oneOf('outboxStorage', STORAGES, given.outboxStorage) === 'indexeddb') || undefined,
    authProbeInterval: optionalMs('authProbeInterval', given.authProbeInterval),
    staleAfter: optionalMs('staleAfter', given.staleAfter, 1),
    client: client && present({ name: text('client.name', client.name), version: optionalText('client.version', client.version) }),
    subprotocol: optionalBoolean('subprotocol', given.subprotocol),
    debug: optionalBoolean('debug', given.debug),
  });
  const share = given.share === undefined ? 'none' : oneOf('share', ['none', 'device'], given.share);
  // Who may share is known by the token.
  return { config, url: url(given.url), getToken: getToken(given.getToken), share: share === 'device' && given.getToken !== undefined };
}

/** Without an end is absent: the module counts in whole numbers. */
function attempts(value: number | undefined): number | undefined {
  return value === Infinity ? undefined : optionalCount('maxReconnectAttempts', value);
}

function url(value: ServiceOptions['url']): ServiceOptions['url'] {
  if (value === undefined || typeof value === 'function') return value;
  if (!Array.isArray(value)) return address(value);
  if (value.length === 0) throw new TautlineError('invalid_argument', 'url takes at least one address; the list is empty');
  // A copy: the page may go on with its own.
  return value.map(address);
}

function address(value: unknown): string {
  if (typeof value !== 'string' || value === '') throw invalid('url takes an address, a list of them, or a function that gives one', value);
  try {
    const parsed = new URL(value, 'wss://this.page');
    if (/^(ws|http)s?:$/.test(parsed.protocol)) return value;
  } catch (cause) {
    throw new TautlineError('invalid_argument', 'url takes a WebSocket address such as wss://relay.example/ws, or a path such as /ws', { cause });
  }
  throw invalid('url takes a ws:, wss:, http: or https: address, or a path', value);
}

function getToken(value: ServiceOptions['getToken']): ServiceOptions['getToken'] {
  return value === undefined ? undefined : functionOf('getToken', value);
}
