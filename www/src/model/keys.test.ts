import { describe, expect, it } from 'vitest';
import { keyAction, keyLabel, type KeyPress } from './keys';

const press = (change: Partial<KeyPress>): KeyPress => ({ key: '', code: '', shiftKey: false, ctrlKey: false, altKey: false, metaKey: false, repeat: false, ...change });

describe('keyAction', () => {
  it('reads digits from the top row and from a bump bar’s pad, 0 being the tenth', () => {
    expect(keyAction(press({ key: '1', code: 'Digit1' }))).toEqual({ kind: 'bump-nth', index: 0 });
    expect(keyAction(press({ key: '0', code: 'Numpad0' }))).toEqual({ kind: 'bump-nth', index: 9 });
    expect(keyAction(press({ key: '7', code: '' }))).toEqual({ kind: 'bump-nth', index: 6 });
  });

  it('ticks an item with Shift, whatever the layout prints there', () => {
    expect(keyAction(press({ key: '"', code: 'Digit2', shiftKey: true }))).toEqual({ kind: 'tick-nth', index: 1 });
  });

  it('moves while an arrow is held, and never bumps twice', () => {
    expect(keyAction(press({ key: 'ArrowDown', repeat: true }))).toEqual({ kind: 'move', move: 'down' });
    expect(keyAction(press({ key: 'Enter', code: 'Enter', repeat: true }))).toBeNull();
    expect(keyAction(press({ key: '1', code: 'Digit1', repeat: true }))).toBeNull();
  });

  it('leaves the browser its own keys', () => {
    expect(keyAction(press({ key: 'r', code: 'KeyR', ctrlKey: true }))).toBeNull();
    expect(keyAction(press({ key: '1', code: 'Digit1', altKey: true }))).toBeNull();
    expect(keyAction(press({ key: 'Tab', code: 'Tab' }))).toBeNull();
  });

  it('knows the rest of the bar', () => {
    expect(['Enter', 'Backspace', 'R', '?', 'Escape'].map((key) => keyAction(press({ key }))?.kind)).toEqual(['bump-selected', 'recall-last', 'recall-last', 'help', 'clear']);
  });
});

it('prints 1 to 9 and 0 on the first ten tickets', () => {
  expect([0, 8, 9, 10].map(keyLabel)).toEqual(['1', '9', '0', null]);
});
