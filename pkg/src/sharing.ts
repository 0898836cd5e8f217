// What a service has of `share: 'device'` before it shares anything: the rest is loaded when the first socket is to be made.

import type { Role } from './types.js';

/** A socket as the module knows it; a share in one has the same shape. */
type SocketLike = WebSocket | EventTarget;
type Layer = typeof import('./share.js');

/** Whether the browser has what tabs find each other by: not in an insecure context. */
const able = () => typeof navigator === 'object' && 'locks' in navigator && typeof BroadcastChannel === 'function' && 'subtle' in crypto;

let warned = false;

/** Of one service. */
export class Sharing {
  role: Role = 'solo';
  #told: (event: 'role', role: Role) => unknown;
  #layer: Layer | undefined;
  #loading: Promise<void> | undefined;
  /** The server is none to be shared. */
  #alone = false;

  /** @param told is told another role; it holds nothing of the service's. */
  constructor(told: (event: 'role', role: Role) => unknown) {
    this.#told = told;
  }

  /** The `url` option, which is asked before every socket: its answer waits until the layer is there. */
  asking(url: unknown): unknown {
    const later = (value: () => unknown) => ({
      then: (ok: (value: unknown) => unknown, failed: (cause: unknown) => unknown) => this.#load().then(value).then(ok, failed),
    });
    if (typeof url === 'function') return () => this.#load().then(() => url());
    return Array.isArray(url) ? url.map((address) => later(() => address)) : later(() => url);
  }

  /** Makes a socket, or a share in one. */
  open(url: string, protocols: string[]): SocketLike {
    if (this.#layer && !this.#alone) return new this.#layer.SharedSocket(this, url, protocols);
    this.is('solo');
    return new WebSocket(url, protocols);
  }

  is(role: Role): void {
    if (role === this.role) return;
    this.role = role;
    this.#told('role', role);
  }

  /** The server numbers no events, or asks for no token. */
  alone(): void {
    this.#alone = true;
  }

  /** The service is at rest: what waited for it to come back is let go. */
  rest(): void {
    this.#layer?.letGo();
    this.is('solo');
  }

  #load(): Promise<void> {
    return (this.#loading ??= this.#begin());
  }

  async #begin(): Promise<void> {
    try {
      if (able()) this.#layer = await import('./share.js');
      else warn('the browser has no Web Locks, BroadcastChannel or SubtleCrypto here (they need a secure context)');
    } catch (cause) {
      warn(String(cause));
    }
  }
}

function warn(why: string): void {
  if (!warned) console.warn(`tautline: share: 'device' gives this page a connection of its own: ${why}`);
  warned = true;
}
