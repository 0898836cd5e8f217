/** One line of the order as it is being taken. */
export interface DraftLine {
  readonly menuItemId: string;
  readonly name: string;
  readonly quantity: number;
  readonly size: string | null;
  readonly modifiers: readonly string[];
  /** The price of one with its changes, in cents, where the call names one. */
  readonly eachCents: number | null;
}

/** The order a call is about: what the peer has called `add_to_order` with, and what became of it. */
export interface OrderDraft {
  readonly lines: readonly DraftLine[];
  readonly phase: 'building' | 'sending' | 'sent' | 'refused';
  /** The relay's answer: the order's number once it is sent, or why it was not. */
  readonly answer: string | null;
  /** Of the order, once it is sent and the answer names it. */
  readonly orderId: string | null;
}

export const EMPTY_DRAFT: OrderDraft = { lines: [], phase: 'building', answer: null, orderId: null };

/** A draft, and what the peer is told of the call that changed it. */
export interface Added {
  readonly draft: OrderDraft;
  readonly output: string;
}

/** The most lines of an order, and of one thing, that the relay takes. */
const MOST_LINES = 200;
const MOST_OF_ONE = 999;

/**
 * Adds what a call of `add_to_order` brings. Arguments are a model's own words: what cannot be read changes nothing,
 * and the peer is told what was wrong with it.
 */
export function addToOrder(draft: OrderDraft, args: string): Added {
  const added = readLines(args);
  if (typeof added === 'string') return { draft, output: JSON.stringify({ ok: false, error: added }) };
  // What follows an order that is in the kitchen is a new one.
  const open = draft.phase === 'sent' ? EMPTY_DRAFT : draft;
  const lines = merged([...open.lines, ...added]);
  if (lines.length > MOST_LINES) return { draft, output: JSON.stringify({ ok: false, error: `An order has at most ${MOST_LINES} lines.` }) };
  const order = lines.map(({ menuItemId, name, quantity, size, modifiers }) => ({ menu_item_id: menuItemId, name, quantity, ...(size === null ? {} : { size }), modifiers }));
  return { draft: { ...EMPTY_DRAFT, lines }, output: JSON.stringify({ ok: true, order }) };
}

/** `submit_order` is on its way; its items, where it names them, are the order. */
export function submitting(draft: OrderDraft, args: string): OrderDraft {
  const named = readLines(args);
  return { ...EMPTY_DRAFT, lines: typeof named === 'string' ? draft.lines : merged(named), phase: 'sending' };
}

/** What the relay answered to `submit_order`: the order it made, or why it made none. */
export function submitted(draft: OrderDraft, output: string): OrderDraft {
  const answer = record(parsed(output));
  if (answer['ok'] !== true) return { ...draft, phase: 'refused', answer: reasonOf(answer) };
  // An order too long to be told comes without itself.
  const order = record(answer['order']);
  const number = order['order_number'];
  return { ...draft, phase: 'sent', orderId: text(order['id']), answer: typeof number === 'number' ? String(number) : text(number) };
}

/** No answer will come any more: the call it was asked in is over. */
export function abandoned(draft: OrderDraft): OrderDraft {
  if (draft.phase !== 'sending') return draft;
  return { ...draft, phase: 'refused', answer: 'The call ended before the kitchen answered. Look for the order in the columns before you send it again.' };
}

function reasonOf(answer: Record<string, unknown>): string {
  const error = answer['error'];
  const reason = typeof error === 'string' ? error : record(error)['message'] ?? answer['message'];
  return typeof reason === 'string' && reason !== '' ? reason : 'The relay gave no reason.';
}

/** The lines in a tool call's arguments, or what is wrong with them. */
function readLines(args: string): readonly DraftLine[] | string {
  const { items } = record(parsed(args));
  if (!Array.isArray(items) || items.length === 0) return 'The arguments need "items", a list with at least one item.';
  const lines: DraftLine[] = [];
  for (const entry of items) {
    const item = record(entry);
    const menuItemId = item['menu_item_id'];
    const quantity = item['quantity'] ?? 1;
    if (typeof menuItemId !== 'string' || menuItemId === '') return 'Every item needs a "menu_item_id".';
    if (typeof quantity !== 'number' || !Number.isInteger(quantity) || quantity < 1 || quantity > MOST_OF_ONE) {
      return `"quantity" is a whole number from 1 to ${MOST_OF_ONE}.`;
    }
    lines.push({
      menuItemId,
      name: text(item['name']) ?? spoken(menuItemId),
      quantity,
      size: text(item['size']),
      modifiers: Array.isArray(item['modifiers']) ? item['modifiers'].filter((wish): wish is string => text(wish) !== null) : [],
      eachCents: eachCents(item['subtotal'], quantity),
    });
  }
  return lines;
}

/** The same thing ordered twice is one line. */
function merged(lines: readonly DraftLine[]): readonly DraftLine[] {
  const byKey = new Map<string, DraftLine>();
  for (const line of lines) {
    const key = lineKey(line);
    const known = byKey.get(key);
    byKey.set(key, known ? { ...known, quantity: Math.min(MOST_OF_ONE, known.quantity + line.quantity) } : line);
  }
  return [...byKey.values()];
}

function eachCents(subtotal: unknown, quantity: number): number | null {
  return typeof subtotal === 'number' && Number.isFinite(subtotal) && subtotal >= 0 ? Math.round((subtotal * 100) / quantity) : null;
}

/** What the lines come to, `12.40`; null where the price of one is not known. To look at only: the relay sums for itself. */
export function totalText(lines: readonly DraftLine[]): string | null {
  let cents = 0;
  for (const { eachCents, quantity } of lines) {
    if (eachCents === null) return null;
    cents += eachCents * quantity;
  }
  return (cents / 100).toFixed(2);
}

/** What makes a line this line and no other. */
export function lineKey({ menuItemId, size, modifiers }: DraftLine): string {
  return JSON.stringify([menuItemId, size, [...modifiers].sort()]);
}

/** `bacon-burger` as `Bacon burger`, for a call that names only the id. */
function spoken(id: string): string {
  const words = id.replace(/[-_]+/g, ' ').trim();
  return words === '' ? id : words.charAt(0).toUpperCase() + words.slice(1);
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null;
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}
