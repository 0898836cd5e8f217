import { cleanup, fireEvent, render, screen } from '@testing-library/react';
import { createElement as h } from 'react';
import { createTautline } from 'tautline';
import { createTestRelay } from 'tautline/testing';
import { App, Leaky } from './board.js';

let relay;
beforeEach(async () => {
  relay = (await createTestRelay()).install();
});
afterEach(async () => {
  cleanup();
  await relay.clock.advance();
  relay.dispose();
});

const client = (getToken = () => relay.token()) => createTautline({ url: relay.url, restaurantId: relay.restaurant, getToken });
const rows = () => screen.queryAllByRole('listitem').map((row) => row.firstChild.textContent);
const order = (name) => ({ items: [{ menu_item_id: name, name, quantity: 1, price: 9 }] });

async function board() {
  relay.createOrder(order('Ramen'));
  relay.createOrder(order('Udon'));
  render(h(App, { client: () => client() }));
  await relay.clock.runUntil(() => rows().length === 2);
}

test('two orders are shown, and a third when it is made', async () => {
  await board();
  expect(rows()).toEqual(['Ramen: new', 'Udon: new']);
  relay.createOrder(order('Soba'));
  await relay.clock.runUntil(() => screen.queryByText('Soba: new'));
});

test('a banner while the connection is cut, and nothing is missing when it is back', async () => {
  await board();
  expect(screen.queryByRole('status')).toBeNull();
  relay.fault('refuse', {});
  relay.fault('cut');
  await relay.clock.runUntil(() => screen.queryByText('Offline'));
  relay.createOrder(order('Soba'));
  await relay.clock.advance(30_000);
  expect(screen.queryByText('Offline')).not.toBeNull();
  relay.heal();
  await relay.clock.advance(30_000);
  expect(screen.queryByText('Offline')).toBeNull();
  expect(rows()).toEqual(['Ramen: new', 'Udon: new', 'Soba: new']);
});

test('a token that is refused leads to the login', async () => {
  render(h(App, { client: () => client(() => 'of another server') }));
  await relay.clock.runUntil(() => screen.queryByRole('alert'));
});

test('a change that is refused is taken back', async () => {
  await board();
  relay.fault('nack', { code: 'conflict' });
  relay.fault('slow', { ms: 500 });
  fireEvent.click(screen.getAllByText('Confirm')[0]);
  await relay.clock.runUntil(() => screen.queryByText('Ramen: confirmed'));
  await relay.clock.advance(1_100);
  expect(rows()[0]).toBe('Ramen: new');
});

test('a lease that a component forgot is named', async () => {
  const mine = await client();
  render(h(Leaky, { manager: mine.manager }));
  await relay.clock.advance();
  cleanup();
  expect(relay.held('lease')).toHaveLength(1);
  expect(() => relay.dispose()).toThrow(/the client still holds[\s\S]*lease[\s\S]*board\.js/);
  relay = await createTestRelay();
});
