import type { Order } from 'tautline';
import type { Settings } from '../settings';
import type { DishCount } from './all-day';
import type { Board, ColumnId } from './board';
import type { Selection } from './selection';
import type { ConnectionFacts } from './words';

/** Everything one render shows, gathered once, so that no view reads a clock or a service of its own. */
export interface Screen {
  readonly now: number;
  readonly settings: Settings;
  readonly loaded: boolean;
  readonly board: Board;
  readonly bumped: readonly Order[];
  readonly stations: readonly string[];
  readonly dishes: readonly DishCount[];
  readonly selection: Selection | null;
  readonly active: ColumnId;
  /** Orders with a change on its way to the relay. */
  readonly pending: ReadonlySet<string>;
  /** Orders that came a moment ago and are still pointed out. */
  readonly arrived: ReadonlySet<string>;
  readonly connection: ConnectionFacts;
  readonly service: ServiceFacts;
  readonly rush: RushFacts | null;
  readonly notices: readonly Notice[];
  readonly soundArmed: boolean;
}

export interface ServiceFacts {
  readonly latencies: readonly number[];
  readonly counters: readonly { readonly name: string; readonly value: number }[];
  readonly ledger: readonly { readonly kind: string; readonly count: number }[];
}

export interface RushFacts {
  readonly placed: number;
  readonly confirmed: number;
  readonly secondsLeft: number;
}

/** A sentence shown for a while; refusals interrupt a screen reader, the rest wait their turn. */
export interface Notice {
  readonly id: number;
  readonly tone: 'refusal' | 'news';
  readonly text: string;
}
