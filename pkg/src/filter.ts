import { STATUSES, text } from './check.js';
import { invalid } from './errors.js';
import type { OrderStatus } from './order.js';

type OneOrMany<T> = T | readonly T[];

/** Which orders: all of the members given must hold, one of the values of each. An empty list is no condition. */
export interface OrderConditions {
  /** Of these tables; a number is its text. */
  readonly table_number?: OneOrMany<string | number> | undefined;
  /** Of any item. */
  readonly station?: OneOrMany<string> | undefined;
  /** In one of these states. */
  readonly statuses?: OneOrMany<OrderStatus> | undefined;
  /** These orders. */
  readonly order_ids?: OneOrMany<string> | undefined;
}

/** What the server is to send of what the role may see. */
export interface EventFilter {
  /** Types, prefixes such as `order:*`, or `*`. Default: every type. */
  readonly events?: readonly string[] | undefined;
  /** Concerns `order:*` only: an event passes if its order matches before or after the change. Default: every order. */
  readonly filters?: OrderConditions | undefined;
}

/** The server's bounds, the same as in `limits` of the protocol crate. */
export const FILTER_LIMITS = { patterns: 32, characters: 64, values: 100 } as const;

const PATTERN = /^(\*|[a-z][a-z0-9_-]*(:[a-z0-9_.-]+){0,3}(:\*)?)$/;

/** The filter as the server reads it, JSON text. */
export function filterText(filter: EventFilter): string {
  const { events, filters } = members('setFilter(filter)', filter, ['events', 'filters']);
  const asked: { events?: readonly string[]; filters?: Record<string, readonly string[]> } = {};
  if (events !== undefined) {
    if (!Array.isArray(events) || events.length > FILTER_LIMITS.patterns) {
      throw invalid(`setFilter({events}) takes an array of at most ${FILTER_LIMITS.patterns} types`, events);
    }
    for (const pattern of events as unknown[]) {
      if (typeof pattern !== 'string' || pattern.length > FILTER_LIMITS.characters || !PATTERN.test(pattern)) {
        throw invalid(`setFilter({events}) takes types such as order:created, prefixes such as order:*, or *, of at most ${FILTER_LIMITS.characters} characters`, pattern);
      }
    }
    asked.events = [...events] as string[];
  }
  if (filters !== undefined) {
    const given = members('setFilter({filters})', filters as OrderConditions, ['table_number', 'station', 'statuses', 'order_ids']);
    asked.filters = {};
    for (const [name, value] of Object.entries(given)) if (value !== undefined) asked.filters[name] = values(name, value);
  }
  return JSON.stringify(asked);
}

function values(name: string, given: unknown): string[] {
  const what = `setFilter({filters: {${name}}})`;
  const list: unknown[] = Array.isArray(given) ? given : [given];
  if (list.length > FILTER_LIMITS.values) throw invalid(`${what} takes at most ${FILTER_LIMITS.values} values`, given);
  return list.map((value) => {
    if (name === 'table_number' && Number.isSafeInteger(value)) return String(value);
    const said = text(what, value as string);
    if ([...said].length > FILTER_LIMITS.characters) throw invalid(`${what} takes values of at most ${FILTER_LIMITS.characters} characters`, value);
    if (name === 'statuses' && !STATUSES.includes(said as OrderStatus)) throw invalid(`${what} takes ${STATUSES.join(', ')}`, value);
    return said;
  });
}

/** An object with these members and no others: one misspelt would quietly let everything pass. */
function members<T extends object>(what: string, value: T, names: readonly string[]): { [name: string]: unknown } {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${what} takes an object`, value);
  const other = Object.keys(value).find((name) => !names.includes(name));
  if (other !== undefined) throw invalid(`${what} takes ${names.join(', ')}`, other);
  return value as { [name: string]: unknown };
}
