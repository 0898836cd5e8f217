/** Owns what the page takes from the browser: every listener and timer is released by one `dispose`. */
export class Scope {
  #cleanups: (() => void)[] = [];

  add(cleanup: () => void): void {
    this.#cleanups.push(cleanup);
  }

  listen<K extends keyof DocumentEventMap>(target: Document, type: K, listener: (event: DocumentEventMap[K]) => void): void;
  listen<K extends keyof WindowEventMap>(target: Window, type: K, listener: (event: WindowEventMap[K]) => void): void;
  listen<K extends keyof HTMLElementEventMap>(target: HTMLElement, type: K, listener: (event: HTMLElementEventMap[K]) => void): void;
  listen<K extends keyof MediaDevicesEventMap>(target: MediaDevices, type: K, listener: (event: MediaDevicesEventMap[K]) => void): void;
  listen(target: EventTarget, type: string, listener: (event: never) => void): void {
    const handler = listener as EventListener;
    target.addEventListener(type, handler);
    this.add(() => target.removeEventListener(type, handler));
  }

  interval(callback: () => void, ms: number): void {
    const id = setInterval(callback, ms);
    this.add(() => clearInterval(id));
  }

  dispose(): void {
    for (const cleanup of this.#cleanups.splice(0).reverse()) cleanup();
  }
}

/** Calls `draw` at most once a frame, however often it is asked to. */
export class Frame {
  #pending: number | null = null;

  constructor(private readonly draw: () => void) {}

  readonly request = (): void => {
    this.#pending ??= requestAnimationFrame(() => {
      this.#pending = null;
      this.draw();
    });
  };

  cancel(): void {
    if (this.#pending !== null) cancelAnimationFrame(this.#pending);
    this.#pending = null;
  }
}
