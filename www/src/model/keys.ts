import type { Move } from './selection';

/** What a key asks for. Bump bars are keyboards: digits, Enter and Backspace are all they have. */
export type KeyAction =
  | { readonly kind: 'bump-nth'; readonly index: number }
  | { readonly kind: 'tick-nth'; readonly index: number }
  | { readonly kind: 'bump-selected' }
  | { readonly kind: 'recall-last' }
  | { readonly kind: 'move'; readonly move: Move }
  | { readonly kind: 'help' }
  | { readonly kind: 'place-order' }
  | { readonly kind: 'clear' };

/** What of a keyboard event the mapping looks at. */
export interface KeyPress {
  readonly key: string;
  readonly code: string;
  readonly shiftKey: boolean;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
  readonly repeat: boolean;
}

const MOVES: Readonly<Record<string, Move>> = {
  ArrowUp: 'up',
  ArrowDown: 'down',
  ArrowLeft: 'left',
  ArrowRight: 'right',
};

/**
 * Maps a key to what it asks for. Digits go by their place on the keyboard or bump bar (`code`), so that Shift
 * and the layout do not matter. A key that is held down moves the selection but never bumps twice.
 */
export function keyAction(press: KeyPress): KeyAction | null {
  if (press.ctrlKey || press.altKey || press.metaKey) return null;
  const move = MOVES[press.key];
  if (move) return press.shiftKey ? null : { kind: 'move', move };
  if (press.repeat) return null;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(press.code)?.[1] ?? /^(\d)$/.exec(press.key)?.[1];
  if (digit !== undefined) {
    const index = (Number(digit) + 9) % 10;
    return press.shiftKey ? { kind: 'tick-nth', index } : { kind: 'bump-nth', index };
  }
  switch (press.key) {
    case 'Enter':
      return { kind: 'bump-selected' };
    case 'Backspace':
    case 'r':
    case 'R':
      return { kind: 'recall-last' };
    case 'n':
    case 'N':
      return { kind: 'place-order' };
    case '?':
      return { kind: 'help' };
    case 'Escape':
      return { kind: 'clear' };
    default:
      return null;
  }
}

/** The digit printed on the nth ticket, or null past the tenth. */
export function keyLabel(index: number): string | null {
  return index < 10 ? String((index + 1) % 10) : null;
}
