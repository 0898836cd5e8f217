'use client';

/**
 * Hooks for React 18 and 19 over one {@link Tautline}. They hold nothing that a StrictMode double mount, a suspended
 * tree or a changed callback could lose or take twice, and a burst of events is one commit.
 */
import { createContext, createElement, useCallback, useContext, useEffect, useInsertionEffect, useMemo, useRef, useState, useSyncExternalStore } from 'react';
import type { ReactElement, ReactNode } from 'react';
import { type TautlineClient, hold } from './adapter.js';
import type { Tautline } from './create.js';
import type { OrderConditions } from './filter.js';
import init from './loader.js';
import type { Order, OrderUpdate } from './order.js';
import { OrderStore, matching, sameOrders } from './order-store.js';
import type { ConnectionState, TautlineEvents } from './types.js';
import type { TranscriptItem, VoiceOptions, VoiceState } from './voice-types.js';
import { VoiceConnection } from './voice.js';

export type { TautlineClient } from './adapter.js';

/** Properties of {@link TautlineProvider}. */
export interface TautlineProviderProps {
  /**
   * A client of the page's own, or what makes one. One that is made here is made when the provider mounts and disposed
   * when it unmounts; a failure is thrown to the nearest error boundary, which tries again by mounting anew.
   */
  client: TautlineClient | (() => Promise<TautlineClient>);
  /** Shown until there is a client. Default: the children, for whom it is `disconnected` and without orders until then. */
  fallback?: ReactNode;
  /** What is to have the client. */
  children?: ReactNode;
}

interface Provided {
  readonly client: TautlineClient | undefined;
  readonly store: OrderStore;
}

const Context = createContext<Provided | undefined>(undefined);

function useProvided(hook: string): Provided {
  const provided = useContext(Context);
  if (!provided) throw new Error(`${hook}() needs a <TautlineProvider client={…}> above it`);
  return provided;
}

/** The value of the last commit, for callbacks that run later: a new one changes nothing that is under way. */
function useLatest<T>(value: T): { readonly current: T } {
  const latest = useRef(value);
  useInsertionEffect(() => {
    latest.current = value;
  });
  return latest;
}

/**
 * Something made in an effect and ended when the component is gone for good: StrictMode and fast refresh take the effect
 * down and up again within one task, which ends nothing.
 */
function useOwned<T>(make: (() => Promise<T>) | undefined, end: (made: T) => void): { value: T | undefined; error: unknown } {
  const latest = useLatest({ make, end });
  const held = useRef<{ users: number; promise: Promise<T> } | undefined>(undefined);
  const [made, setMade] = useState<{ value?: T; error?: unknown }>({});
  const wanted = make !== undefined;
  useEffect(() => {
    if (!wanted || !latest.current.make) return;
    const own = (held.current ??= { users: 0, promise: latest.current.make() });
    own.users += 1;
    let here = true;
    own.promise.then(
      (value) => here && setMade({ value }),
      (error: unknown) => here && setMade({ error: error ?? new Error('the client could not be made') }),
    );
    return () => {
      here = false;
      own.users -= 1;
      queueMicrotask(() => {
        if (own.users > 0) return;
        if (held.current === own) held.current = undefined;
        own.promise.then((value) => latest.current.end(value), () => {});
        // Of a component that is only hidden: what it had is over when it is shown again.
        setMade({});
      });
    };
  }, [wanted, latest]);
  return { value: made.value, error: made.error };
}

/** Gives the client to the hooks below it. */
export function TautlineProvider({ client, fallback, children }: TautlineProviderProps): ReactElement {
  const made = useOwned(typeof client === 'function' ? client : undefined, (mine) => mine.dispose());
  if (made.error !== undefined) throw made.error;
  const current = typeof client === 'function' ? made.value : client;
  const provided = useMemo(() => ({ client: current, store: new OrderStore(current?.orders) }), [current]);
  const shown = current === undefined && fallback !== undefined ? fallback : children;
  return createElement(Context.Provider, { value: provided }, shown);
}

/** The provider's client: `undefined` on a server, and until it is made. */
export function useTautline(): Tautline | undefined {
  return useProvided('useTautline').client as Tautline | undefined;
}

/** The state of the connection. */
export function useConnectionState(): ConnectionState {
  const { client } = useProvided('useConnectionState');
  const subscribe = useCallback((changed: () => void) => client?.service.on('stateChange', changed) ?? (() => {}), [client]);
  return useSyncExternalStore(
    subscribe,
    () => client?.service.getConnectionState() ?? 'disconnected',
    () => 'disconnected',
  );
}

/** Options of {@link useWebSocketConnection}. */
export interface ConnectionOptions {
  /** Whether this component wants the connection. Default true. */
  enabled?: boolean | undefined;
  /** It is there: now, and every time it came back. */
  onConnect?: (() => unknown) | undefined;
  /** It was lost, or closed. */
  onDisconnect?: ((value: TautlineEvents['disconnected']) => unknown) | undefined;
  /** What no call of the page's is there to reject, and why there is no connection. */
  onError?: ((error: unknown) => unknown) | undefined;
}

/** What {@link useWebSocketConnection} gives. */
export interface Connection {
  /** The connection as the page sees it. */
  readonly state: ConnectionState;
  /** Connected and authenticated. */
  readonly isConnected: boolean;
  /** Why it was given up; gone with the next try. */
  readonly error: unknown;
  /** Tries again after `error`. */
  readonly retry: () => void;
}

/**
 * Holds a share in the connection while the component is mounted: the first holder connects, the last lets go a second
 * after it is gone. Callbacks may change with every render.
 */
export function useWebSocketConnection(options: ConnectionOptions = {}): Connection {
  const { enabled = true } = options;
  const { client } = useProvided('useWebSocketConnection');
  const callbacks = useLatest(options);
  const state = useConnectionState();
  const [error, setError] = useState<unknown>(undefined);
  const [tries, setTries] = useState(0);
  useEffect(() => {
    if (!client || !enabled) return;
    const { service } = client;
    const offs = [
      service.on('connected', () => {
        setError(undefined);
        callbacks.current.onConnect?.();
      }),
      service.on('disconnected', (value) => callbacks.current.onDisconnect?.(value as TautlineEvents['disconnected'])),
      service.on('error', (value) => callbacks.current.onError?.(value)),
    ];
    if (service.isConnected()) callbacks.current.onConnect?.();
    const release = hold(client, (why) => {
      setError(why);
      callbacks.current.onError?.(why);
    });
    return () => {
      for (const off of offs) off();
      release();
    };
  }, [client, enabled, tries, callbacks]);
  const retry = useCallback(() => {
    setError(undefined);
    setTries((before) => before + 1);
  }, []);
  return { state, isConnected: state === 'connected', error, retry };
}

const all = (orders: readonly Order[]) => orders;

/**
 * What `select` makes of the live orders; the component renders when that has changed by `equal`, and at most once a
 * frame. The set is kept from the first such hook on, until the client is disposed.
 */
export function useOrderSelector<T>(select: (orders: readonly Order[]) => T, equal: (one: T, other: T) => boolean = Object.is): T {
  const { store } = useProvided('useOrderSelector');
  const memo = useRef<{ orders: readonly Order[]; select: unknown; value: T } | undefined>(undefined);
  const snapshot = (orders: readonly Order[]) => {
    const last = memo.current;
    if (last && last.orders === orders && last.select === select) return last.value;
    const next = select(orders);
    const value = last && equal(last.value, next) ? last.value : next;
    memo.current = { orders, select, value };
    return value;
  };
  return useSyncExternalStore(store.subscribe, () => snapshot(store.orders()), () => snapshot(OrderStore.none));
}

/** The live orders, those that `filter` asks for: the same array until one of them changed. Filters are compared by value. */
export function useOrders(filter?: OrderConditions): readonly Order[] {
  const key = filter === undefined ? '' : JSON.stringify(filter);
  const select = useMemo(() => (key === '' ? all : matching(JSON.parse(key) as OrderConditions)), [key]);
  return useOrderSelector(select, sameOrders);
}

/** One live order; `undefined` when it is not in the set. The component renders when that order has changed. */
export function useOrder(orderId: string): Order | undefined {
  const { store } = useProvided('useOrder');
  return useSyncExternalStore(store.subscribe, () => store.order(orderId), () => undefined);
}

/** Calls back for every change of the orders, in order, once, as it comes; the callback may change with every render. */
export function useOrderUpdates(callback: (update: OrderUpdate) => unknown): void {
  const { client, store } = useProvided('useOrderUpdates');
  const latest = useLatest(callback);
  useEffect(() => {
    if (!client) return;
    store.begin();
    return client.orders.onOrderUpdate((update) => latest.current(update));
  }, [client, store, latest]);
}

/** What {@link useVoice} gives. */
export interface Voice {
  /** The call, once the component has mounted. */
  readonly call: VoiceConnection | undefined;
  /** The call as the page sees it. */
  readonly state: VoiceState;
  /** What was said, and what is being said. */
  readonly transcript: readonly TranscriptItem[];
}

const NO_TRANSCRIPT: readonly TranscriptItem[] = [];

/**
 * A call of this component's own, hung up when it unmounts. The options are those of the first render, but `getToken`,
 * which may change with every one. It is there once the provider's client is, if there is a provider; with a client of
 * `tautline/core` it loads the module of `tautline` besides.
 */
export function useVoice(options: VoiceOptions = {}): Voice {
  const latest = useLatest(options);
  const provided = useContext(Context);
  // A client that is being made may load the module from a place of its own.
  const ready = !provided || provided.client !== undefined;
  const make = async () => {
    await init();
    const { getToken, ...rest } = latest.current;
    return new VoiceConnection(getToken ? { ...rest, getToken: (...asked) => latest.current.getToken?.(...asked) ?? null } : rest);
  };
  const { value: call, error } = useOwned(ready ? make : undefined, (mine) => mine.dispose());
  if (error !== undefined) throw error;
  const onState = useCallback((changed: () => void) => call?.on('connection.change', changed) ?? (() => {}), [call]);
  const onTranscript = useCallback((changed: () => void) => call?.on('transcript', changed) ?? (() => {}), [call]);
  const state = useSyncExternalStore<VoiceState>(onState, () => call?.getConnectionState() ?? 'disconnected', () => 'disconnected');
  const transcript = useSyncExternalStore(onTranscript, () => call?.transcript() ?? NO_TRANSCRIPT, () => NO_TRANSCRIPT);
  return { call, state, transcript };
}
