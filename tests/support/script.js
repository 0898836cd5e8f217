// A server on the other side of a call's socket that says exactly what a test wants: a stub in the place of the browser's
// own sockets, for what a real relay would not do on demand.

import { uncounted } from './host.js';

/** Samples of a millisecond. */
const PER_MS = 24;

export class Script {
  sockets = [];
  events = [];
  onEvent = () => {};
  /** What its sockets say that they hold. */
  buffered = 0;
  /** The browser's own, also where a scenario before has failed and left a script. */
  static real;

  /** Sockets to `host` are its own from now on. */
  constructor(host) {
    const script = this;
    const Real = (Script.real ??= globalThis.WebSocket);
    globalThis.WebSocket = class extends EventTarget {
      static OPEN = 1;
      static CLOSED = 3;
      readyState = 0;

      constructor(url, protocols) {
        super();
        if (!url.includes(host)) return new Real(url, protocols);
        Object.assign(this, { url, protocols });
        script.sockets.push(this);
        queueMicrotask(() => {
          if (this.readyState !== 0) return;
          this.readyState = 1;
          this.dispatchEvent(new Event('open'));
        });
      }

      get bufferedAmount() {
        return script.buffered;
      }

      send(text) {
        script.#heard(JSON.parse(text), text);
      }

      close() {
        if (this.readyState === 3) return;
        this.readyState = 3;
        uncounted(() => setTimeout(() => this.dispatchEvent(new CloseEvent('close', { code: 1000, wasClean: true }))));
      }
    };
  }

  #heard(said, text) {
    const event = { ...said, size: text.length };
    this.events.push(event);
    if (event.type === 'session.update') this.say({ type: 'session.updated', session: event.session });
    this.onEvent(event);
  }

  /** An event to the page, as a task of its own. */
  say(event) {
    const socket = this.sockets.at(-1);
    const data = JSON.stringify({ event_id: `event_${Math.random()}`, ...event });
    uncounted(() => setTimeout(() => socket.readyState === 1 && socket.dispatchEvent(new MessageEvent('message', { data }))));
  }

  /** A piece of an answer: so many milliseconds of one height. */
  sound(response, item, ms, height = 8_000) {
    const bytes = new Uint8Array(new Int16Array(ms * PER_MS).fill(height).buffer);
    let text = '';
    for (const byte of bytes) text += String.fromCharCode(byte);
    this.say({ type: 'response.output_audio.delta', response_id: response, item_id: item, content_index: 0, output_index: 0, delta: btoa(text) });
  }

  types() {
    return this.events.map(({ type }) => type);
  }

  of(type) {
    return this.events.filter((event) => event.type === type);
  }

  /** It is gone from under the call. */
  drop() {
    const socket = this.sockets.at(-1);
    socket.readyState = 3;
    socket.dispatchEvent(new CloseEvent('close', { code: 1006 }));
  }

  end() {
    globalThis.WebSocket = Script.real;
  }
}

/** Listens to a track and counts, by samples, how long it was heard: from the first that is not silent to the last. */
export async function ear(track) {
  const source = `registerProcessor('ear', class extends AudioWorkletProcessor {
    at = 0; first = -1; last = -1; loud = 0;
    constructor() { super(); this.port.onmessage = () => this.port.postMessage([this.first < 0 ? 0 : this.last - this.first + 1, this.loud]); }
    process([[samples]]) {
      for (const sample of samples ?? []) {
        if (Math.abs(sample) > 0.01) { if (this.first < 0) this.first = this.at; this.last = this.at; this.loud += 1; }
        this.at += 1;
      }
      return true;
    }
  });`;
  const context = uncounted(() => new AudioContext({ sampleRate: 24_000 }));
  const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  await context.audioWorklet.addModule(url);
  const node = uncounted(() => new AudioWorkletNode(context, 'ear'));
  context.createMediaStreamSource(new MediaStream([track])).connect(node).connect(context.destination);
  return {
    /** Milliseconds heard, and samples of them that were not silent. */
    heard: () => new Promise((resolve) => {
      node.port.onmessage = ({ data: [samples, loud] }) => resolve({ ms: samples / PER_MS, loudMs: loud / PER_MS });
      node.port.postMessage(null);
    }),
    end: () => context.close(),
  };
}
