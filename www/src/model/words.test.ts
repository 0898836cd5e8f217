import { describe, expect, it } from 'vitest';
import { TautlineError } from 'tautline';
import { clockText } from './clock';
import { itemOf, orderOf } from './fixture';
import { arrivalWords, bannerWords, connectionWords, customerWords, refusalWords, type ConnectionFacts } from './words';

const facts = (change: Partial<ConnectionFacts>): ConnectionFacts => ({ state: 'connected', stale: false, offline: false, confirmedAtMs: 1_000, nextAttemptInMs: null, rttMs: null, error: null, tokenFailure: null, ...change });

describe('the connection', () => {
  it('is called live only when it is', () => {
    expect(connectionWords(facts({}))).toBe('Live');
    expect(connectionWords(facts({ stale: true }))).toBe('Not confirmed');
    expect(connectionWords(facts({ state: 'reconnecting', nextAttemptInMs: 3_100 }))).toBe('Reconnecting in 4 s');
    expect(connectionWords(facts({ state: 'reconnecting' }))).toBe('Reconnecting');
    expect(connectionWords(facts({ state: 'reconnecting', offline: true }))).toBe('No network');
  });

  it('has a banner that says up to when, what is done about it, and how to help', () => {
    expect(bannerWords(facts({}))).toBeNull();
    expect(bannerWords(facts({ stale: true }))?.title).toBe(`Confirmed up to ${clockText(1_000)}`);
    expect(bannerWords(facts({ state: 'connecting', confirmedAtMs: null }))?.title).toBe('Nothing confirmed yet');
    const refused = bannerWords(facts({ state: 'error', error: new TautlineError('auth_failed', 'refused') }));
    expect(refused?.remedy).toBe('connect');
    expect(refused?.advice).toContain('token');
  });
});

describe('a refused change', () => {
  it('says what did not happen and why', () => {
    const order = orderOf('7', 'preparing', 0);
    const conflict = new TautlineError('nack', 'x', { nackCode: 'conflict' });
    expect(refusalWords('Order 7 was not moved to Ready', order, conflict)).toBe('Order 7 was not moved to Ready: somebody else was quicker. It is preparing now.');
    expect(refusalWords('It was not', undefined, new TautlineError('request_timeout', 'x', { outcome: 'not_sent' }))).toContain('withdrawn');
    expect(refusalWords('It was not', undefined, new Error('odd'))).toBe('It was not: odd');
  });
});

it('names the guest', () => {
  expect(customerWords(orderOf('1', 'new', 0, { table_number: '12' }))).toBe('Table 12');
  expect(customerWords(orderOf('1', 'new', 0, { type: 'drive-thru' }))).toBe('Drive thru');
  expect(customerWords(orderOf('1', 'new', 0, { type: 'takeout', customer_name: 'Ana' }))).toBe('Ana, takeout');
});

it('announces one order in full and several as a number', () => {
  const order = orderOf('9', 'new', 0, { table_number: '3', items: [itemOf('a', { quantity: 2 }), itemOf('b')] });
  expect(arrivalWords([order])).toBe('New order 9, Table 3, 3 dishes');
  expect(arrivalWords([order, order])).toBe('2 new orders');
  expect(arrivalWords([])).toBe('');
});
