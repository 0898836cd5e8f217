import type { NewOrder } from 'tautline';

/** A number in [0, 1); `Math.random` on the page, a fixed sequence in tests. */
export type Chance = () => number;

type NewItem = NewOrder['items'][number];
type Modifier = NonNullable<NewItem['modifiers']>[number];

interface Dish {
  readonly name: string;
  readonly station: string;
  readonly price: number;
  readonly modifiers: readonly string[];
  readonly weight: number;
}

const DISHES: readonly Dish[] = [
  { name: 'Smash burger', station: 'Grill', price: 12.5, modifiers: ['No onion', 'Extra cheese', 'Medium rare', 'Gluten-free bun'], weight: 5 },
  { name: 'Chicken skewer', station: 'Grill', price: 9.8, modifiers: ['Extra sauce', 'No coriander'], weight: 3 },
  { name: 'Ribeye 250 g', station: 'Grill', price: 27, modifiers: ['Rare', 'Medium', 'Well done', 'Pepper sauce'], weight: 2 },
  { name: 'Grilled halloumi', station: 'Grill', price: 11.2, modifiers: ['No honey'], weight: 2 },
  { name: 'Fries', station: 'Fryer', price: 4.2, modifiers: ['Large', 'No salt', 'Mayo'], weight: 6 },
  { name: 'Onion rings', station: 'Fryer', price: 4.9, modifiers: [], weight: 2 },
  { name: 'Crispy squid', station: 'Fryer', price: 10.6, modifiers: ['Extra lemon', 'No aioli'], weight: 2 },
  { name: 'Caesar salad', station: 'Cold', price: 10.9, modifiers: ['No anchovies', 'Dressing apart', 'Add chicken'], weight: 3 },
  { name: 'Tomato burrata', station: 'Cold', price: 12.4, modifiers: ['No basil'], weight: 2 },
  { name: 'Lemon tart', station: 'Cold', price: 6.9, modifiers: ['With cream'], weight: 2 },
  { name: 'Margherita', station: 'Oven', price: 11, modifiers: ['Extra mozzarella', 'Cut in eight'], weight: 4 },
  { name: 'Mushroom pizza', station: 'Oven', price: 13.5, modifiers: ['No garlic', 'Thin crust'], weight: 3 },
  { name: 'Baked cauliflower', station: 'Oven', price: 9.4, modifiers: ['No nuts'], weight: 2 },
];

const INSTRUCTIONS = ['Nut allergy', 'Birthday, candle please', 'Serve with the mains', 'For a child, cut up', 'Sauce on the side'];

/** How the order came, with the share of each. */
const KINDS: readonly { readonly type: NewOrder['type']; readonly weight: number }[] = [
  { type: 'dine-in', weight: 6 },
  { type: 'takeout', weight: 3 },
  { type: 'delivery', weight: 1 },
];

/** An order as a busy evening would bring it: one to four dishes, some with wishes. */
export function randomOrder(chance: Chance): NewOrder {
  const { type } = weighted(KINDS, chance);
  const dishes = new Set<Dish>();
  const count = 1 + Math.floor(chance() * chance() * 4);
  while (dishes.size < count) dishes.add(weighted(DISHES, chance));
  const order: NewOrder = { type, items: [...dishes].map((dish) => itemOf(dish, chance)) };
  if (type === 'dine-in') order.table_number = String(1 + Math.floor(chance() * 24));
  return order;
}

function itemOf(dish: Dish, chance: Chance): NewItem {
  const item: NewItem = {
    menu_item_id: slug(dish.name),
    name: dish.name,
    station: dish.station,
    quantity: chance() < 0.72 ? 1 : 2 + Math.floor(chance() * 2),
    price: dish.price,
  };
  if (dish.modifiers.length > 0 && chance() < 0.45) item.modifiers = [modifier(pick(dish.modifiers, chance))];
  if (chance() < 0.1) item.special_instructions = pick(INSTRUCTIONS, chance);
  return item;
}

function modifier(name: string): Modifier {
  return { id: slug(name), name, price: 0 };
}

function slug(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
}

function pick<T>(values: readonly [T, ...T[]] | readonly T[], chance: Chance): T {
  return values[Math.floor(chance() * values.length)] as T;
}

function weighted<T extends { readonly weight: number }>(values: readonly T[], chance: Chance): T {
  let left = chance() * values.reduce((sum, value) => sum + value.weight, 0);
  for (const value of values) {
    left -= value.weight;
    if (left < 0) return value;
  }
  return values[0] as T;
}
