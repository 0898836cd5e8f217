/**
 * The chime for a new ticket. Browsers let a page make sound only after a touch or a key, so it is armed by the
 * person who wants it; while disarmed there is no audio context at all.
 */
export class Chime {
  #context: AudioContext | null = null;

  get armed(): boolean {
    return this.#context?.state === 'running';
  }

  /** Call from within a touch or a key press. */
  async arm(): Promise<void> {
    this.#context ??= new AudioContext();
    await this.#context.resume();
  }

  async disarm(): Promise<void> {
    const context = this.#context;
    this.#context = null;
    await context?.close();
  }

  /** Two soft notes, a fourth apart. */
  ring(): void {
    const context = this.#context;
    if (context?.state !== 'running') return;
    this.#note(context, 784, context.currentTime);
    this.#note(context, 1046.5, context.currentTime + 0.14);
  }

  #note(context: AudioContext, frequency: number, at: number): void {
    const tone = context.createOscillator();
    const volume = context.createGain();
    tone.type = 'triangle';
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0, at);
    volume.gain.linearRampToValueAtTime(0.25, at + 0.012);
    volume.gain.exponentialRampToValueAtTime(0.001, at + 0.55);
    tone.connect(volume).connect(context.destination);
    tone.start(at);
    tone.stop(at + 0.6);
  }
}
