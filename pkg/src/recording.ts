/**
 * What a service has been through: its last 1 000 inputs and outputs, without payloads, tokens or addresses; ids of
 * messages are replaced by names that only tell them apart. The project's own tools play it again, decision by
 * decision (`cargo xtask replay FILE`), so it is what to attach to a report of odd behaviour.
 */
export class Recording {
  readonly #text: string;

  /** @internal */
  constructor(text: string) {
    this.#text = text;
  }

  /** As text, to be kept in a file. */
  export(): string {
    return this.#text;
  }

  /** As a value, for `JSON.stringify` and for looking at. Its shape follows the version of the package. */
  toJSON(): unknown {
    return JSON.parse(this.#text);
  }

  /** Whether it can be played again: `false` if something was unanswered for so long that its beginning was dropped. */
  get complete(): boolean {
    return (JSON.parse(this.#text) as { complete: boolean }).complete;
  }
}
