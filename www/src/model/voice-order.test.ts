import { describe, expect, it } from 'vitest';
import { abandoned, addToOrder, EMPTY_DRAFT, submitted, submitting, totalText } from './voice-order';

const args = (...items: object[]) => JSON.stringify({ items });
const burgers = { menu_item_id: 'bacon-burger', name: 'Bacon burger', quantity: 2, modifiers: ['no pickles'] };

describe('add_to_order', () => {
  it('builds the order and tells the peer what it is now', () => {
    const { draft, output } = addToOrder(EMPTY_DRAFT, args(burgers, { menu_item_id: 'cola', quantity: 1, size: 'large' }));
    expect(draft.lines).toEqual([
      { menuItemId: 'bacon-burger', name: 'Bacon burger', quantity: 2, size: null, modifiers: ['no pickles'], eachCents: null },
      { menuItemId: 'cola', name: 'Cola', quantity: 1, size: 'large', modifiers: [], eachCents: null },
    ]);
    expect(JSON.parse(output)).toMatchObject({ ok: true, order: [{ menu_item_id: 'bacon-burger', quantity: 2 }, { menu_item_id: 'cola', size: 'large' }] });
  });

  it('counts the same thing together, and only the same thing', () => {
    const once = addToOrder(EMPTY_DRAFT, args(burgers)).draft;
    const twice = addToOrder(once, args({ ...burgers, quantity: 1 }, { ...burgers, quantity: 1, modifiers: [] })).draft;
    expect(twice.lines.map(({ quantity, modifiers }) => [quantity, modifiers])).toEqual([[3, ['no pickles']], [1, []]]);
  });

  it('knows what it comes to when every price is known, and says nothing otherwise', () => {
    const priced = addToOrder(EMPTY_DRAFT, args({ ...burgers, subtotal: 19 }, { menu_item_id: 'cola', quantity: 3, subtotal: 8.4 })).draft;
    expect(totalText(priced.lines)).toBe('27.40');
    const more = addToOrder(priced, args({ ...burgers, quantity: 1, subtotal: 9.5 })).draft;
    expect(totalText(more.lines)).toBe('36.90');
    expect(totalText(addToOrder(more, args({ menu_item_id: 'shake', quantity: 1 })).draft.lines)).toBeNull();
    expect(totalText(addToOrder(EMPTY_DRAFT, args({ ...burgers, subtotal: 'free' })).draft.lines)).toBeNull();
  });

  it.each([
    ['no JSON', '{'],
    ['no items', '{}'],
    ['an empty list', '{"items":[]}'],
    ['an item without an id', args({ quantity: 1 })],
    ['half a burger', args({ ...burgers, quantity: 0.5 })],
    ['none of it', args({ ...burgers, quantity: 0 })],
    ['more than the relay takes', args({ ...burgers, quantity: 1000 })],
    ['too many lines', args(...Array.from({ length: 201 }, (_, n) => ({ menu_item_id: `dish-${n}`, quantity: 1 })))],
  ])('changes nothing for %s, and says what is wrong', (_, bad) => {
    const { draft } = addToOrder(EMPTY_DRAFT, args(burgers));
    const after = addToOrder(draft, bad);
    expect(after.draft).toBe(draft);
    expect(JSON.parse(after.output)).toEqual({ ok: false, error: expect.stringMatching(/\w/) });
  });
});

describe('submit_order', () => {
  const draft = addToOrder(EMPTY_DRAFT, args(burgers)).draft;

  it('is sent, answered with an order, and a new order begins after it', () => {
    const sending = submitting(draft, '{}');
    expect(sending).toMatchObject({ phase: 'sending', lines: draft.lines });
    const sent = submitted(sending, JSON.stringify({ ok: true, order: { id: 'o-1', order_number: '117' } }));
    expect(sent).toMatchObject({ phase: 'sent', orderId: 'o-1', answer: '117', lines: draft.lines });
    const next = addToOrder(sent, args({ menu_item_id: 'cola', quantity: 1 })).draft;
    expect(next).toMatchObject({ phase: 'building', orderId: null, answer: null, lines: [{ menuItemId: 'cola' }] });
  });

  it('is sent also when the answer does not repeat the order', () => {
    expect(submitted(submitting(draft, '{}'), '{"ok":true}')).toMatchObject({ phase: 'sent', orderId: null, answer: null });
  });

  it('takes the items it names as the order, as the kitchen will', () => {
    expect(submitting(draft, args({ menu_item_id: 'cola', quantity: 4 })).lines).toMatchObject([{ menuItemId: 'cola', quantity: 4 }]);
  });

  it.each([
    [{ ok: false, error: 'the menu has no lobster' }, 'the menu has no lobster'],
    [{ ok: false, error: { message: 'too many' } }, 'too many'],
    [{ id: 'o-1' }, 'The relay gave no reason.'],
  ])('that was refused says why: %j', (answer, words) => {
    expect(submitted(submitting(draft, '{}'), JSON.stringify(answer))).toMatchObject({ phase: 'refused', answer: words, lines: draft.lines });
  });

  it('whose call ended is not called sent, and a draft that waits for nothing is left alone', () => {
    expect(abandoned(submitting(draft, '{}'))).toMatchObject({ phase: 'refused', lines: draft.lines });
    expect(abandoned(draft)).toBe(draft);
  });
});
