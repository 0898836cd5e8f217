/** When the microphone is open: while somebody holds the button or the space bar, or all the time. */
export type TalkMode = 'hold' | 'open';

/**
 * Who holds the talk button: pointers by their number, the space bar, or a press without a hold (by assistive
 * technology, or Enter). Two fingers and a key are one hold, which ends with the last of them.
 */
export class TalkHold {
  readonly #holders = new Set<string>();

  get held(): boolean {
    return this.#holders.size > 0;
  }

  /** Answers whether this began a hold. */
  press(holder: string): boolean {
    const before = this.held;
    this.#holders.add(holder);
    return !before;
  }

  /** Answers whether this ended the hold. */
  release(holder: string): boolean {
    return this.#holders.delete(holder) && !this.held;
  }

  /** Presses what is not pressed and releases what is, for those who cannot hold. Answers whether it is held now. */
  toggle(): boolean {
    if (this.held) this.#holders.clear();
    else this.#holders.add('toggled');
    return this.held;
  }

  /** The page lost the focus, or the call: nobody holds anything. Answers whether somebody did. */
  releaseAll(): boolean {
    const before = this.held;
    this.#holders.clear();
    return before;
  }
}

/** What of a key event decides whether it is the talk key. */
export interface TalkKey {
  readonly code: string;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
}

/** The space bar talks wherever it means nothing else. */
export function isTalkKey({ code, ctrlKey, altKey, metaKey }: TalkKey): boolean {
  return code === 'Space' && !ctrlKey && !altKey && !metaKey;
}
