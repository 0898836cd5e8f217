import type { OrderConditions } from './filter.js';
import type { Order } from './order.js';

/** The part of `OrderUpdates` that it is drawn from. */
interface Source {
  initialize(): void;
  orders(): readonly Order[];
  onOrders(callback: () => unknown): () => void;
}

/** Where no frame comes, in a hidden tab, the next one is this far off, ms. */
const HIDDEN_FRAME_MS = 100;

/**
 * The live orders as a framework's components see them: one subscription however many there are, told at most once a
 * frame. Between frames it shows what they have rendered.
 */
export class OrderStore {
  static readonly none: readonly Order[] = [];
  readonly #source: Source | undefined;
  readonly #told = new Set<() => void>();
  #orders = OrderStore.none;
  #byId: ReadonlyMap<string, Order> | undefined;
  #off: (() => void) | undefined;
  #cancelFrame: (() => void) | undefined;

  constructor(source: Source | undefined) {
    this.#source = source;
  }

  /** The set is wanted, from here on. */
  begin(): void {
    this.#source?.initialize();
  }

  readonly subscribe = (changed: () => void): (() => void) => {
    // A function of its own: the same one may be given twice.
    const told = () => changed();
    if (this.#told.size === 0) this.#start();
    this.#told.add(told);
    return () => {
      if (this.#told.delete(told) && this.#told.size === 0) this.#stop();
    };
  };

  orders(): readonly Order[] {
    if (this.#told.size === 0) this.#look();
    return this.#orders;
  }

  order(id: string): Order | undefined {
    const orders = this.orders();
    this.#byId ??= new Map(orders.map((order) => [order.id, order]));
    return this.#byId.get(id);
  }

  #look(): boolean {
    const orders = this.#source?.orders() ?? OrderStore.none;
    if (orders === this.#orders) return false;
    this.#orders = orders;
    this.#byId = undefined;
    return true;
  }

  #start(): void {
    this.begin();
    this.#off = this.#source?.onOrders(() => {
      this.#cancelFrame ??= nextFrame(() => {
        this.#cancelFrame = undefined;
        if (this.#look()) for (const told of [...this.#told]) told();
      });
    });
    this.#look();
  }

  #stop(): void {
    this.#off?.();
    this.#cancelFrame?.();
    this.#off = this.#cancelFrame = undefined;
  }
}

/** Runs before the next frame is drawn, or soon where none is; gives what cancels it. */
function nextFrame(run: () => void): () => void {
  const cancel = () => {
    cancelAnimationFrame(frame);
    clearTimeout(timer);
  };
  const once = () => {
    cancel();
    run();
  };
  const frame = requestAnimationFrame(once);
  const timer = setTimeout(once, HIDDEN_FRAME_MS);
  return cancel;
}

/** The orders that meet the conditions, as the server's filter understands them. */
export function matching(conditions: OrderConditions): (orders: readonly Order[]) => readonly Order[] {
  const among = <T>(wanted: T | readonly T[] | undefined): ((...has: unknown[]) => boolean) => {
    const values = new Set((wanted === undefined ? [] : [wanted].flat()).map(String));
    return (...has) => values.size === 0 || has.some((value) => value !== undefined && values.has(String(value)));
  };
  const [table, station, status, id] = [among(conditions.table_number), among(conditions.station), among(conditions.statuses), among(conditions.order_ids)];
  return (orders) =>
    orders.filter((order) => table(order.table_number) && status(order.status) && id(order.id) && station(...order.items.map((item) => item.station)));
}

/** Whether two lists hold the same objects. */
export function sameOrders(one: readonly Order[], other: readonly Order[]): boolean {
  return one.length === other.length && one.every((order, index) => order === other[index]);
}
