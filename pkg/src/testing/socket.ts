// The `WebSocket` of the global scope while a test relay is installed: for the relay's addresses a socket in memory, with the
// standard's states, events and errors; for any other the page's own.

import type { Link, PageEnd } from './link.js';

/** Opens a connection for a socket. */
export type Dial = (protocols: readonly string[], page: PageEnd) => Link;

const encoder = (text: string) => new TextEncoder().encode(text).length;
const REASON_BYTES = 123;
const HANDLERS = ['open', 'message', 'error', 'close'] as const;

/** What tells a socket's end; engines without a `CloseEvent` get its members on an event. */
function closeEvent(init: { code: number; reason: string; wasClean: boolean }): Event {
  return typeof CloseEvent === 'function' ? new CloseEvent('close', init) : Object.assign(new Event('close'), init);
}

function refused(name: string, message: string): Error {
  return new DOMException(message, name);
}

/** The class to put in the place of `Real`, for the addresses that `serves` says. */
export function socketClass(Real: typeof WebSocket | undefined, serves: (url: URL) => boolean, dial: Dial): typeof WebSocket {
  class MemorySocket extends EventTarget {
    static readonly CONNECTING = 0;
    static readonly OPEN = 1;
    static readonly CLOSING = 2;
    static readonly CLOSED = 3;
    readonly CONNECTING = 0;
    readonly OPEN = 1;
    readonly CLOSING = 2;
    readonly CLOSED = 3;
    readonly extensions = '';
    readonly url: string = '';
    binaryType: BinaryType = 'blob';
    readyState: number = MemorySocket.CONNECTING;
    bufferedAmount = 0;
    protocol = '';
    readonly #link: Link | undefined;
    readonly #handlers = new Map<string, unknown>();

    static override [Symbol.hasInstance](value: unknown): boolean {
      return Function.prototype[Symbol.hasInstance].call(MemorySocket, value) || (Real !== undefined && value instanceof Real);
    }

    constructor(address: string | URL, protocols: string | string[] = []) {
      super();
      const url = new URL(address, (globalThis as { location?: { href: string } }).location?.href);
      if (!serves(url)) {
        if (!Real) throw refused('NotSupportedError', `only the test relay is there, and ${url.href} is not its address`);
        return new Real(address, protocols) as unknown as this;
      }
      url.protocol = url.protocol.replace('http', 'ws');
      this.url = url.href;
      this.#link = dial([protocols].flat(), {
        opened: (protocol) => {
          if (this.readyState !== MemorySocket.CONNECTING) return;
          this.protocol = protocol;
          this.readyState = MemorySocket.OPEN;
          this.dispatchEvent(new Event('open'));
        },
        message: (data) => {
          if (this.readyState === MemorySocket.OPEN) this.dispatchEvent(new MessageEvent('message', { data, origin: url.origin }));
        },
        closed: (code, reason, wasClean) => {
          this.readyState = MemorySocket.CLOSED;
          if (!wasClean) this.dispatchEvent(new Event('error'));
          this.dispatchEvent(closeEvent({ code, reason, wasClean }));
        },
      });
      for (const name of HANDLERS) this.#handler(name);
    }

    send(data: string | ArrayBufferLike | Blob | ArrayBufferView): void {
      if (this.readyState === MemorySocket.CONNECTING) throw refused('InvalidStateError', 'the socket is not open yet');
      const bytes = typeof data === 'string' ? encoder(data) : 'byteLength' in data ? data.byteLength : data.size;
      this.bufferedAmount += bytes;
      if (this.readyState === MemorySocket.OPEN) this.#link?.send(data, () => void (this.bufferedAmount -= bytes));
    }

    close(code?: number, reason = ''): void {
      if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) throw refused('InvalidAccessError', `a page closes with 1000 or 3000 to 4999, not ${code}`);
      if (encoder(reason) > REASON_BYTES) throw refused('SyntaxError', `a reason has at most ${REASON_BYTES} bytes`);
      if (this.readyState >= MemorySocket.CLOSING) return;
      this.readyState = MemorySocket.CLOSING;
      this.#link?.close(code ?? 1005, reason);
    }

    /** `onopen` and the like. */
    #handler(name: string): void {
      Object.defineProperty(this, `on${name}`, {
        get: () => this.#handlers.get(name) ?? null,
        set: (handler: unknown) => {
          const before = this.#handlers.get(name);
          if (before) this.removeEventListener(name, before as EventListener);
          this.#handlers.delete(name);
          if (typeof handler !== 'function') return;
          this.#handlers.set(name, handler);
          this.addEventListener(name, handler as EventListener);
        },
      });
    }
  }
  Object.defineProperty(MemorySocket, 'name', { value: 'WebSocket' });
  return MemorySocket as unknown as typeof WebSocket;
}
