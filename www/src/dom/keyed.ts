/**
 * Makes `parent`'s children exactly `wanted`, in that order, touching only what is out of place. Elements are
 * kept, never made anew, so what is in place keeps its focus and scroll position. A child that is not wanted here
 * but is in `elsewhere` stays until its new parent takes it.
 */
export function place(parent: Element, wanted: readonly Element[], elsewhere: ReadonlySet<Element> = NONE): void {
  const keep = new Set(wanted);
  for (let child = parent.firstElementChild; child; ) {
    const next = child.nextElementSibling;
    if (!keep.has(child) && !elsewhere.has(child)) child.remove();
    child = next;
  }
  let at = parent.firstElementChild;
  for (const element of wanted) {
    while (at && !keep.has(at)) at = at.nextElementSibling;
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
}

const NONE: ReadonlySet<Element> = new Set();

/** A view of one value: an element that follows it. */
export interface View<T> {
  readonly element: HTMLElement;
  update(value: T): void;
}

/** Views by key: the same key keeps its element for as long as it is listed. */
export class KeyedList<T, V extends View<T>> {
  #views = new Map<string, V>();

  constructor(
    private readonly parent: Element,
    private readonly keyOf: (value: T) => string,
    private readonly make: (value: T) => V,
  ) {}

  update(values: readonly T[]): void {
    const next = new Map<string, V>();
    for (const value of values) {
      const key = this.keyOf(value);
      const view = this.#views.get(key) ?? this.make(value);
      view.update(value);
      next.set(key, view);
    }
    this.#views = next;
    place(this.parent, [...next.values()].map((view) => view.element));
  }
}
