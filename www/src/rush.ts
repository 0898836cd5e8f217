import type { OrderUpdates } from 'tautline';
import { boardOf, bumpTarget, COLUMNS } from './model/board';
import { randomOrder } from './model/menu';
import type { RushFacts } from './model/screen';
import { refusalWords } from './model/words';

/** The relay lets a connection make 20 changes a second; the cooks leave a few of them to the visitor. */
const CHANGES_PER_SECOND = 17;
const TICK_MS = 100;
/** Tickets the cooks leave hanging, so that there is something to look at. */
const LEFT_HANGING = 12;

export interface RushPlan {
  /** Orders per second. */
  readonly rate: number;
  readonly seconds: number;
  /** Whether the kitchen cooks meanwhile: the oldest ticket of the fullest column is bumped, again and again. */
  readonly cooks: boolean;
}

/** A burst of orders from this page, through the same calls any page would use. */
export class Rush {
  #timer: ReturnType<typeof setInterval> | null = null;
  #plan: RushPlan = { rate: 0, seconds: 0, cooks: false };
  #startedAt = 0;
  #placed = 0;
  #confirmed = 0;
  #cooked = 0;

  constructor(
    private readonly orders: OrderUpdates,
    private readonly refused: (words: string) => void,
    private readonly changed: () => void,
  ) {}

  facts(nowMs: number): RushFacts | null {
    if (this.#timer === null) return null;
    const left = this.#plan.seconds - (nowMs - this.#startedAt) / 1000;
    return { placed: this.#placed, confirmed: this.#confirmed, secondsLeft: Math.max(0, Math.ceil(left)) };
  }

  start(plan: RushPlan): void {
    this.stop();
    this.#plan = plan;
    this.#startedAt = Date.now();
    this.#placed = this.#confirmed = this.#cooked = 0;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
    this.changed();
  }

  stop(): void {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
    this.changed();
  }

  /** Goes by elapsed time, not by ticks: a throttled timer must not make the rush a trickle. */
  #tick(): void {
    const elapsed = Math.min(this.#plan.seconds, (Date.now() - this.#startedAt) / 1000);
    const ordersDue = Math.floor(elapsed * this.#plan.rate);
    while (this.#placed < ordersDue && this.#timer !== null) this.#place();
    const bumpsDue = this.#plan.cooks ? Math.floor(elapsed * Math.max(0, CHANGES_PER_SECOND - this.#plan.rate)) : 0;
    for (; this.#cooked < bumpsDue; this.#cooked += 1) this.#cook();
    if (elapsed >= this.#plan.seconds) this.stop();
  }

  #place(): void {
    this.#placed += 1;
    this.orders.createOrder(randomOrder(Math.random)).then(
      () => {
        this.#confirmed += 1;
        this.changed();
      },
      (error: unknown) => {
        // One sentence for the whole rush, however many of its orders were refused.
        if (this.#timer !== null) this.refused(refusalWords('The rush was ended', undefined, error));
        this.stop();
      },
    );
  }

  #cook(): void {
    const board = boardOf(this.orders.orders(), null);
    const hanging = COLUMNS.reduce((sum, column) => sum + board[column.id].length, 0);
    if (hanging <= LEFT_HANGING) return;
    const [fullest] = [...COLUMNS].sort((a, b) => board[b.id].length - board[a.id].length);
    const oldest = fullest && board[fullest.id][0];
    const to = oldest && bumpTarget(oldest.status);
    if (!oldest || !to) return;
    // A cook who was too late lets go: the ticket is where somebody else put it.
    this.orders.updateOrderStatus(oldest.id, to, { expectedStatus: oldest.status, optimistic: true }).catch(() => undefined);
  }
}
