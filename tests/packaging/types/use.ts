// Compiled, never run, against what the tarball declares: every entry, as a page written in an older TypeScript may use it.

import init, { ConnectionManager, createTautline, initSync, OrderUpdates, resources, TautlineError, VoiceConnection, WebRTCConnection, WebSocketService } from 'tautline';
import type { ConnectionState, ErrorCode, Item, Lease, Message, Order, OrderUpdate, Tautline, TautlineOptions, VoiceEvents } from 'tautline';
import * as core from 'tautline/core';
import * as inline from 'tautline/inline';
import { defineInspector } from 'tautline/inspector';
import { TautlineProvider, useConnectionState, useOrder, useOrders, useOrderSelector, useOrderUpdates, useTautline, useVoice, useWebSocketConnection } from 'tautline/react';
import * as svelte from 'tautline/svelte';
import { createTestRelay, type FaultName, type TestRelay } from 'tautline/testing';
import { createElement, type ReactElement } from 'react';

declare module 'tautline' {
  interface TautlineMessages {
    'table:updated': { readonly table: string };
  }
}

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_same: Same<A, B>): void {}

export async function loading(): Promise<Tautline> {
  await init();
  await inline.default();
  await core.default(new URL('https://a.example/tautline_bg.wasm'));
  initSync(new Uint8Array());
  const options: TautlineOptions = { url: 'wss://a.example/ws', module: fetch('/tautline_bg.wasm') };
  // @ts-expect-error milliseconds are numbers
  await createTautline({ reconnectInterval: '2s' });
  await createTautline({ restaurantId: undefined });
  return inline.createTautline(options);
}

export async function live({ service, manager, orders, dispose }: Tautline): Promise<void> {
  service.on('stateChange', (state) => same<typeof state, ConnectionState>(true));
  service.on('message:table:updated', ({ payload }) => same<typeof payload, { readonly table: string }>(true));
  service.on('order:created', ({ payload, seq }) => same<[typeof payload.order, typeof seq], [Order, number | undefined]>(true));
  service.on('table:updated', ({ payload }) => same<typeof payload, { readonly table: string }>(true));
  service.on('message:anything:else', ({ payload }) => same<typeof payload, unknown>(true));
  service.subscribe('table:updated', ({ table }) => same<typeof table, string>(true));
  service.subscribe('order:created', ({ order }) => same<typeof order, Order>(true));
  // @ts-expect-error no such event
  service.on('conected', () => {});
  for (const { items } of orders.orders()) for (const item of items) same<typeof item, Item>(true);
  orders.onOrderUpdate((update) => void told(update));
  const lease: Lease = await manager.acquire({ signal: new AbortController().signal });
  lease[Symbol.dispose]();
  dispose();
}

export async function iterated({ service }: Tautline, signal: AbortSignal): Promise<void> {
  for await (const { payload } of service.messages('table:updated', { signal, onOverflow: 'drop-oldest' })) same<typeof payload, { readonly table: string }>(true);
}

/** Each by its `action`, and there are no others. */
export function told(update: OrderUpdate): string {
  switch (update.action) {
    case 'created':
    case 'updated':
      return update.order.id;
    case 'deleted':
      return update.reason ?? '';
    case 'status_changed':
      return update.status;
    case 'item_status_changed':
      return update.itemId;
    default:
      same<typeof update, never>(true);
      return update;
  }
}

/** The code is one of a closed union. */
export function advice(error: unknown): ErrorCode | undefined {
  if (!(error instanceof TautlineError)) return undefined;
  // @ts-expect-error no such code
  if (error.code === 'not_found') return undefined;
  return error.code;
}

export function looking(client: Tautline): void {
  defineInspector();
  document.createElement('tautline-inspector').client = client;
}

export function calls(): void {
  same<typeof WebRTCConnection, typeof VoiceConnection>(true);
  const call = new VoiceConnection({ startMuted: true });
  call.on('level', (level) => same<typeof level, VoiceEvents['level']>(true));
}

export function made(): void {
  const service = new WebSocketService();
  const objects = [service, new ConnectionManager(service), new OrderUpdates(service)];
  // The same classes, whichever entry they are imported from; those of core are over another module.
  same<typeof inline.WebSocketService, typeof WebSocketService>(true);
  new core.OrderUpdates(new core.WebSocketService()).dispose();
  for (const object of objects) object.dispose();
  same<ReturnType<typeof resources.counts>[core.ResourceKind], number>(true);
}

export function Kitchen(): ReactElement {
  const { state } = useWebSocketConnection({ onError: (error) => void advice(error) });
  same<typeof state, ConnectionState>(true);
  useOrderUpdates((update) => void told(update));
  const waiting = useOrderSelector((orders) => orders.length);
  const names = useOrders({ statuses: ['new'] }).map(({ id }) => id);
  const { call } = useVoice({ microphone: false });
  same<NonNullable<typeof call>, VoiceConnection>(true);
  return createElement('p', { title: useConnectionState() }, waiting, names, useOrder('1')?.status, useTautline()?.service.isConnected());
}

export const App = (): ReactElement => createElement(TautlineProvider, { client: () => loading(), children: createElement(Kitchen) });

export function stores(client: Tautline): void {
  svelte.orders(client, { statuses: 'new' }).subscribe((list) => same<typeof list, readonly Order[]>(true));
}

export async function tested(): Promise<TestRelay> {
  const relay = (await createTestRelay({ clock: 'none', seed: 7 })).install();
  relay.fault('cut');
  relay.fault('close', { code: 4001 })();
  // @ts-expect-error a close has a code
  relay.fault('close');
  // @ts-expect-error no such fault
  relay.fault('gremlins');
  const name: FaultName = 'lost-ack';
  relay.fault(name, { times: 2 });
  same<ReturnType<typeof relay.orders>, Order[]>(true);
  const first = await relay.clock.runUntil(() => relay.orders()[0]);
  same<typeof first, Order>(true);
  const made = await relay.clock.runUntil(Promise.resolve(0));
  same<typeof made, number>(true);
  return relay;
}
