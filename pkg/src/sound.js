// What a call over a WebSocket hears and speaks with, in the engine's own language: it does what the module says and
// decides nothing.

/** The API's sound: PCM16, one channel. The context converts what the microphone gives. */
const RATE = 24_000;

/** A worklet of a call. */
class Node {
  #ended = () => {};
  /** @type {Promise<void>} */
  ended = new Promise((resolve) => (this.#ended = resolve));

  #runs;

  /** @param {AudioWorkletNode} node @param {() => boolean} runs whether its context runs, or is about to */
  constructor(node, runs) {
    this.node = node;
    this.#runs = runs;
    this.port = node.port;
    this.port.start();
  }

  /** Whether what is spoken is taken. @param {boolean} open */
  gate(open) {
    this.port.postMessage(open);
  }

  /** Has a piece of an answer played. @param {string} base64 @param {number} cushion */
  hear(base64, cushion) {
    const buffer = decode(base64);
    this.port.postMessage([buffer, cushion], [buffer]);
  }

  silence() {
    this.port.postMessage(null);
  }

  /**
   * Its processor ends by itself, at its next turn: a browser keeps a node whose processor has not, and with it the context, closed
   * or not, as long as the page is there. Without a turn to come there is nothing to wait for.
   */
  stop() {
    const { node, port } = this;
    const done = () => {
      port.onmessage = null;
      port.close();
      node.disconnect();
      this.#ended();
    };
    if (!this.#runs()) return done();
    // It says that it ends as it does; asked once more it answers when it has.
    let ends = false;
    port.onmessage = ({ data }) => {
      if (data !== null) return;
      if (ends) return done();
      ends = true;
      port.postMessage(undefined);
    };
    port.postMessage(undefined);
  }
}

/** One call's sound. */
export class Sound {
  #context = new AudioContext({ sampleRate: RATE });
  #heard = this.#context.createMediaStreamDestination();
  /** @type {MediaStreamAudioSourceNode | undefined} */
  #microphone = undefined;
  /** @type {Node[]} */
  #nodes = [];
  #spoken = false;
  /** Energy of what was spoken. */
  energy = 0;

  /** @param {string} worklet where the worklets' file is */
  constructor(worklet) {
    this.ready = this.#context.audioWorklet.addModule(worklet);
  }

  /** The answer. */
  get stream() {
    return this.#heard.stream;
  }

  get running() {
    return this.#context.state === 'running';
  }

  /** Takes what is spoken. */
  capture() {
    const node = new AudioWorkletNode(this.#context, 'tautline-capture', { numberOfInputs: 1, numberOfOutputs: 1, channelCount: 1, channelCountMode: 'explicit' });
    // Silence; a node that leads nowhere may be left out.
    node.connect(this.#context.destination);
    return this.#kept(node);
  }

  /** Plays the answer. */
  playback() {
    const node = new AudioWorkletNode(this.#context, 'tautline-playback', { numberOfInputs: 0, numberOfOutputs: 1, outputChannelCount: [1] });
    node.connect(this.#heard);
    return this.#kept(node);
  }

  /** @param {AudioWorkletNode} worklet */
  #kept(worklet) {
    const node = new Node(worklet, () => this.#runs);
    this.#nodes.push(node);
    return node;
  }

  /** Whether it sounds, or will as soon as the device has started: whoever speaks or has touched the page may hear. */
  get #runs() {
    return this.running || this.#spoken || (this.#context.state === 'suspended' && navigator.userActivation?.hasBeenActive);
  }

  /** @param {Node} capture @param {MediaStream} [stream] */
  listen(capture, stream) {
    this.#microphone?.disconnect();
    this.#spoken ||= stream !== undefined;
    this.#microphone = stream && this.#context.createMediaStreamSource(stream);
    this.#microphone?.connect(capture.node);
  }

  /** What was spoken, for a message. @param {ArrayBuffer} buffer */
  encode(buffer) {
    for (const sample of new Int16Array(buffer)) this.energy += sample * sample;
    return btoa(String.fromCharCode(...new Uint8Array(buffer)));
  }

  resume() {
    // Settled when the browser lets it sound, which may be never.
    this.#context.resume().catch(() => {});
  }

  stop() {
    const context = this.#context;
    this.#microphone?.disconnect();
    const close = () => {
      context.onstatechange = null;
      // Rejected when it is closed already.
      context.close().catch(() => {});
    };
    // Once its worklets have ended, or when they cannot any more.
    if (this.#nodes.length === 0 || !this.#runs) return close();
    context.onstatechange = () => this.running || close();
    // Standing still, it has heard of their end.
    Promise.all(this.#nodes.map(({ ended }) => ended)).then(() => context.suspend()).then(close, close);
  }
}

/** Samples in a piece of sound. @param {unknown} base64 */
export function samplesOf(base64) {
  if (typeof base64 !== 'string') return undefined;
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0;
  return Math.floor((base64.length * 0.75 - padding) / 2);
}

/** As many samples as it is counted for, whatever is in it. @param {string} base64 */
function decode(base64) {
  const bytes = new Uint8Array(2 * (samplesOf(base64) ?? 0));
  try {
    const text = atob(base64);
    for (let n = 0; n < bytes.length; n += 1) bytes[n] = text.charCodeAt(n);
  } catch {
    // Not base64: that long a silence.
  }
  return bytes.buffer;
}
