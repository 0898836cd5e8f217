// A browser's WebSocket with a server in it that speaks the plain dialect: enough to connect, and to be cut.

/** Every socket made, oldest first. */
export const sockets = [];

export class FakeWebSocket extends EventTarget {
  static CONNECTING = 0;
  static OPEN = 1;
  static CLOSING = 2;
  static CLOSED = 3;
  /** What `auth:success` says more: `protocol`, `epoch` and `seq` of a server that speaks v1. */
  static speaks = {};
  readyState = FakeWebSocket.CONNECTING;
  bufferedAmount = 0;
  sent = [];

  constructor(url) {
    super();
    this.url = String(url);
    sockets.push(this);
    queueMicrotask(() => {
      if (this.readyState !== FakeWebSocket.CONNECTING) return;
      this.readyState = FakeWebSocket.OPEN;
      this.dispatchEvent(new Event('open'));
      this.frame({ type: 'connected', auth_required: true });
    });
  }

  send(text) {
    for (const frame of [JSON.parse(text)].flat()) {
      this.sent.push(frame);
      if (frame.type === 'auth') queueMicrotask(() => this.frame({ type: 'auth:success', restaurant_id: 'grow', user_id: 'u', role: 'kitchen', ...FakeWebSocket.speaks }));
      if (frame.type === 'orders:sync') queueMicrotask(() => this.frame({ type: 'sync_complete', payload: { status: 'complete' } }));
    }
  }

  frame(value) {
    if (this.readyState === FakeWebSocket.OPEN) this.dispatchEvent(new MessageEvent('message', { data: JSON.stringify(value) }));
  }

  /** The server hangs up. */
  cut(code = 1006) {
    this.#end(code, false);
  }

  close(code = 1005, reason = '') {
    if (this.readyState >= FakeWebSocket.CLOSING) return;
    this.readyState = FakeWebSocket.CLOSING;
    setTimeout(() => this.#end(code, true, reason));
  }

  #end(code, wasClean, reason = '') {
    if (this.readyState === FakeWebSocket.CLOSED) return;
    this.readyState = FakeWebSocket.CLOSED;
    this.dispatchEvent(Object.assign(new Event('close'), { code, reason, wasClean }));
  }
}
