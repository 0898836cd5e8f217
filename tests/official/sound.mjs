// Sound that is made, not recorded: bursts of a tone, silence, and what of a tone is in what came back.

/**
 * A tone that swells and fades four times a second, as syllables do: noise suppression takes an even one for noise.
 * @param {number} ms @param {{ hz?: number, rate?: number }} [options]
 */
export function tone(ms, { hz = 440, rate = 24_000 } = {}) {
  const samples = new Int16Array((ms * rate) / 1_000);
  for (let n = 0; n < samples.length; n += 1) {
    const swell = 0.6 + 0.4 * Math.sin((2 * Math.PI * 4 * n) / rate);
    samples[n] = 12_000 * swell * Math.sin((2 * Math.PI * hz * n) / rate);
  }
  return samples;
}

/** @param {number} ms @param {{ rate?: number }} [options] */
export const silence = (ms, { rate = 24_000 } = {}) => new Int16Array((ms * rate) / 1_000);

/** @param {Int16Array[]} parts */
export function joined(parts) {
  const all = new Int16Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** In pieces, as a microphone gives them. @param {Int16Array} samples @param {{ ms?: number, rate?: number }} [options] */
export function* pieces(samples, { ms = 100, rate = 24_000 } = {}) {
  const length = (ms * rate) / 1_000;
  for (let at = 0; at < samples.length; at += length) yield samples.slice(at, at + length);
}

/** How much of the power is at that frequency, 0 to 1 (Goertzel). @param {Int16Array} samples */
export function share(samples, hz, { rate = 24_000 } = {}) {
  const turn = 2 * Math.cos((2 * Math.PI * hz) / rate);
  let [now, before, power] = [0, 0, 0];
  for (const sample of samples) {
    [now, before] = [sample + turn * now - before, now];
    power += sample * sample;
  }
  return power === 0 ? 0 : (2 * (now * now + before * before - turn * now * before)) / (power * samples.length);
}

/** G.711 µ-law of 16-bit samples. @param {Int16Array} samples */
export function ulaw(samples) {
  return Uint8Array.from(samples, (sample) => {
    const sign = sample < 0 ? 0x80 : 0;
    const size = Math.min(Math.abs(sample), 32_635) + 132;
    const exponent = Math.floor(Math.log2(size)) - 7;
    return ~(sign | (exponent << 4) | ((size >> (exponent + 3)) & 0x0f)) & 0xff;
  });
}

/** A WAV file. @param {Int16Array} samples @param {{ rate: number }} options */
export function wav(samples, { rate }) {
  const head = Buffer.alloc(44);
  head.write('RIFF');
  head.writeUInt32LE(36 + samples.byteLength, 4);
  head.write('WAVEfmt ', 8);
  head.writeUInt32LE(16, 16); // of this part
  head.writeUInt16LE(1, 20); // PCM
  head.writeUInt16LE(1, 22); // one channel
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(rate * 2, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  head.write('data', 36);
  head.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([head, Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength)]);
}
