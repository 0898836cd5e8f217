// What runs on the audio thread for a call over a WebSocket: one takes the microphone's sound in pieces, one plays the
// answer and counts what it has played. Fetched when a call is made over a socket, and not before.

/** Samples of a piece of what is spoken: 40 ms. */
const PIECE = 960;
/** Samples between two reports of what was played. */
const REPORT = 2_048;
/** Samples in which an answer that is cut off fades, so that it does not click. */
const FADE = 128;

/** What a report says the player does; the same numbers as in `src/voice/rung.rs`. */
const ON = 0;
const DRY = 1;
const SILENCED = 2;

// Each ends when it is told `undefined`, and says so with `null`, and again when it is asked again: what does not end is kept
// by the browser.

/** Gives PCM16 to its port while it is open, and what it has of a piece when it is closed. */
class Capture extends AudioWorkletProcessor {
  #piece = new Int16Array(PIECE);
  #length = 0;
  #open = false;
  #over = false;

  constructor() {
    super();
    this.port.onmessage = ({ data: open }) => {
      if (this.#over) return this.port.postMessage(null);
      if (!open) this.#give();
      this.#open = open;
      this.#over = open === undefined;
    };
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const samples = this.#open ? inputs[0]?.[0] : undefined;
    for (const sample of samples ?? []) {
      this.#piece[this.#length++] = Math.max(-1, Math.min(1, sample)) * 32_767;
      if (this.#length === PIECE) this.#give();
    }
    if (this.#over) this.port.postMessage(null);
    return !this.#over;
  }

  #give() {
    const { buffer } = this.#piece.slice(0, this.#length);
    if (this.#length > 0) this.port.postMessage(buffer, [buffer]);
    this.#length = 0;
  }
}

/** Plays PCM16 from its port, `[samples, cushion]` each, in order; `null` silences it. */
class Playback extends AudioWorkletProcessor {
  /** @type {Int16Array[]} */
  #queue = [];
  /** Samples of the first of them that were played. */
  #at = 0;
  #queued = 0;
  #cushion = 0;
  /** Since a piece came, before it began. */
  #waited = 0;
  #running = false;
  #epoch = 0;
  /** Of this epoch; below 0 while the one before fades. */
  #played = 0;
  #reported = 0;
  #over = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      if (this.#over) this.port.postMessage(null);
      else if (data === undefined) this.#over = true;
      else if (data === null) this.#silence();
      else this.#add(data);
    };
  }

  /** @param {[ArrayBuffer, number]} piece */
  #add([buffer, cushion]) {
    const samples = new Int16Array(buffer);
    this.#queue.push(samples);
    this.#queued += samples.length;
    this.#cushion = cushion;
  }

  #silence() {
    const fading = this.#running ? Math.min(FADE, this.#queued) : 0;
    const tail = new Int16Array(fading);
    for (let n = 0; n < fading; n += 1) tail[n] = this.#next() * (1 - n / fading);
    this.#played += fading;
    this.#report(SILENCED);
    this.#epoch += 1;
    this.#queue = fading > 0 ? [tail] : [];
    this.#at = 0;
    this.#queued = fading;
    this.#played = this.#reported = -fading;
  }

  #next() {
    const [first] = this.#queue;
    if (first === undefined) return 0;
    const sample = first[this.#at++] ?? 0;
    this.#queued -= 1;
    if (this.#at === first.length) {
      this.#queue.shift();
      this.#at = 0;
    }
    return sample;
  }

  /** @param {Float32Array[][]} _ @param {Float32Array[][]} outputs */
  process(_, outputs) {
    if (this.#over) {
      this.port.postMessage(null);
      return false;
    }
    const out = outputs[0]?.[0];
    if (out === undefined) return true;
    const began = !this.#running && this.#begins(out.length);
    if (!this.#running) return true;
    const count = Math.min(out.length, this.#queued);
    for (let n = 0; n < count; n += 1) out[n] = this.#next() / 32_768;
    this.#played += count;
    if (this.#queued === 0) {
      this.#running = false;
      this.#report(DRY);
    } else if (began || this.#played - this.#reported >= REPORT) this.#report(ON);
    return true;
  }

  /** Once there is a cushion, or as long as that was waited for it: a short answer is all there is. @param {number} quantum */
  #begins(quantum) {
    if (this.#queued === 0) return false;
    this.#waited += quantum;
    this.#running = this.#queued >= this.#cushion || this.#waited >= this.#cushion;
    if (this.#running) this.#waited = 0;
    return this.#running;
  }

  /** @param {number} state */
  #report(state) {
    this.#reported = this.#played;
    this.port.postMessage([this.#epoch, Math.max(0, this.#played), state]);
  }
}

registerProcessor('tautline-capture', Capture);
registerProcessor('tautline-playback', Playback);
