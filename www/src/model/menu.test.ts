import { expect, it } from 'vitest';
import { randomOrder } from './menu';

it('makes orders the relay takes: at least one dish, no dish twice, prices in whole cents', () => {
  let seed = 11;
  const chance = () => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  for (let count = 0; count < 500; count += 1) {
    const { items, type, table_number } = randomOrder(chance);
    expect(items.length).toBeGreaterThan(0);
    expect(new Set(items.map(({ name }) => name)).size).toBe(items.length);
    expect(items.every(({ price, quantity }) => /^\d+(\.\d{1,2})?$/.test(String(price)) && quantity >= 1 && quantity <= 3)).toBe(true);
    expect(table_number !== undefined).toBe(type === 'dine-in');
  }
});
