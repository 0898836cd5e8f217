import { TautlineError, type ConnectionState, type Order, type OrderStatus } from 'tautline';
import { clockText } from './clock';

export const STATUS_WORDS: Readonly<Record<OrderStatus, string>> = {
  new: 'New',
  pending: 'New',
  confirmed: 'Confirmed',
  preparing: 'Preparing',
  ready: 'Ready',
  'picked-up': 'Picked up',
  completed: 'Completed',
  cancelled: 'Cancelled',
};

/** What the page knows about its connection, read off the service once a render. */
export interface ConnectionFacts {
  readonly state: ConnectionState;
  readonly stale: boolean;
  /** The browser says that this device has no network. */
  readonly offline: boolean;
  /** The time up to which everything is confirmed, or null before the first confirmation. */
  readonly confirmedAtMs: number | null;
  readonly nextAttemptInMs: number | null;
  readonly rttMs: number | null;
  readonly error: unknown;
  /** Why there is no token to connect with, where that is known. */
  readonly tokenFailure: string | null;
}

/** The connection in a word or two, for the chip in the corner. */
export function connectionWords(facts: ConnectionFacts): string {
  switch (facts.state) {
    case 'connected':
      return facts.stale ? 'Not confirmed' : 'Live';
    case 'connecting':
      return 'Connecting';
    case 'reconnecting':
      return reconnectWords(facts);
    case 'error':
      return 'Not connected';
    case 'disconnected':
      return 'Off';
  }
}

function reconnectWords({ nextAttemptInMs, offline }: ConnectionFacts): string {
  if (offline) return 'No network';
  const seconds = nextAttemptInMs === null ? 0 : Math.ceil(nextAttemptInMs / 1000);
  return seconds > 0 ? `Reconnecting in ${seconds} s` : 'Reconnecting';
}

export interface BannerWords {
  readonly title: string;
  readonly advice: string;
  /** What the one button of the banner does. */
  readonly remedy: 'try-now' | 'connect' | null;
}

/** What the banner says when the board cannot be vouched for, or null when it can. */
export function bannerWords(facts: ConnectionFacts): BannerWords | null {
  if (facts.state === 'connected' && !facts.stale) return null;
  const upTo = facts.confirmedAtMs === null ? 'Nothing confirmed yet' : `Confirmed up to ${clockText(facts.confirmedAtMs)}`;
  switch (facts.state) {
    case 'connected':
      return {
        title: upTo,
        advice: 'The connection is open, but the relay has confirmed nothing since. Newer orders may be missing here.',
        remedy: 'try-now',
      };
    case 'connecting':
    case 'reconnecting':
      return {
        title: upTo,
        advice: `${facts.tokenFailure === null ? '' : `${facts.tokenFailure} `}${facts.offline ? 'This device has no network; the page reconnects when it is back' : reconnectWords(facts)}. What you bump meanwhile is kept and sent afterwards.`,
        remedy: 'try-now',
      };
    case 'error':
      return { title: upTo, advice: errorWords(facts.error), remedy: 'connect' };
    case 'disconnected':
      return { title: upTo, advice: 'This page is not connected, and will not connect by itself.', remedy: 'connect' };
  }
}

/** Why the service gave up, and what to do about it. */
export function errorWords(error: unknown): string {
  if (!(error instanceof TautlineError)) return error instanceof Error ? error.message : 'Something unknown went wrong.';
  switch (error.code) {
    case 'auth_failed':
      return 'The relay refused this page’s token. It is asked for a new one every five minutes; you can also try now.';
    case 'auth_forbidden':
      return 'This token may not see this restaurant. Open the page with another restaurant or role.';
    case 'connect_failed':
    case 'connect_timeout':
      return 'The relay does not answer. Check that it is running, then try again.';
    case 'wasm_unavailable':
      return 'This browser could not load WebAssembly, which the connection needs.';
    case 'internal':
      return 'The connection code failed and let go of everything it held. Reload the page.';
    default:
      return error.message;
  }
}

/** Why a change was not made: `undone` says what did not happen, the rest why. */
export function refusalWords(undone: string, order: Order | undefined, error: unknown): string {
  return `${undone}: ${reasonWords(order, error)}`;
}

function reasonWords(order: Order | undefined, error: unknown): string {
  if (!(error instanceof TautlineError)) return error instanceof Error ? error.message : 'the reason is not known.';
  if (error.code === 'request_timeout') {
    return error.outcome === 'not_sent'
      ? 'there was no connection to send it over. It was withdrawn.'
      : 'no answer came. The board will show what the relay has.';
  }
  if (error.code === 'outbox_expired') return 'it waited too long for a connection. Please do it again.';
  if (error.code === 'outbox_full') return 'too much is already waiting for a connection.';
  if (error.code === 'disposed' || error.code === 'aborted') return 'the connection was ended.';
  if (error.code !== 'nack') return error.message;
  switch (error.nackCode) {
    case 'conflict':
      return order ? `somebody else was quicker. It is ${STATUS_WORDS[order.status].toLowerCase()} now.` : 'somebody else was quicker.';
    case 'invalid_transition':
      return 'it cannot go there from where it is.';
    case 'not_found':
      return 'it is no longer in the live set.';
    case 'forbidden':
      return 'your role may not do that.';
    case 'rate_limited':
    case 'overloaded':
      return 'the relay is too busy. Try again in a moment.';
    case 'unavailable':
      return 'the relay cannot store anything just now.';
    default:
      return error.message;
  }
}

/** Who an order is for: `Table 12`, or how it leaves the house. */
export function customerWords(order: Order): string {
  if (order.table_number) return order.seat_number ? `Table ${order.table_number}, seat ${order.seat_number}` : `Table ${order.table_number}`;
  return order.customer_name ? `${order.customer_name}, ${typeWords(order.type).toLowerCase()}` : typeWords(order.type);
}

/** `drive-thru` as `Drive thru`: types are the restaurant's own words. */
export function typeWords(type: string): string {
  const spaced = type.replace(/[-_]+/g, ' ').trim();
  return spaced === '' ? 'Order' : spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** What the live region says of the orders that came since it last spoke. */
export function arrivalWords(orders: readonly Order[]): string {
  const [first] = orders;
  if (!first) return '';
  if (orders.length > 1) return `${orders.length} new orders`;
  const dishes = first.items.reduce((sum, item) => sum + item.quantity, 0);
  return `New order ${first.order_number}, ${customerWords(first)}, ${dishes} ${dishes === 1 ? 'dish' : 'dishes'}`;
}
