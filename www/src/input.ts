import type { Display } from './display';
import type { ColumnId } from './model/board';
import { keyAction } from './model/keys';
import { TROUBLES } from './model/trouble';
import type { Settings } from './settings';
import { PLACES } from './view/bar';

/**
 * Touch and keys. The page has one listener of each kind, at the document; what was meant is read off
 * `data-action` of the control, so that a ticket costs no listener at all.
 */
export function attachInput(display: Display): void {
  const { scope } = display;
  scope.listen(document, 'click', (event) => {
    const control = closest(event.target, '[data-action]');
    if (control) act(display, control);
  });
  scope.listen(document, 'change', (event) => {
    const control = closest(event.target, '[data-setting]');
    if (control) changeSetting(display, control);
  });
  scope.listen(document, 'focusin', (event) => {
    const id = orderIdOf(closest(event.target, '.ticket'));
    if (id) display.select(id);
  });
  scope.listen(document, 'pointerdown', () => {
    document.documentElement.dataset['input'] = 'pointer';
    void display.armSound();
  });
  scope.listen(document, 'keydown', (event) => {
    document.documentElement.dataset['input'] = 'keys';
    void display.armSound();
    if (!event.defaultPrevented && !isTyping(event.target) && press(display, event)) event.preventDefault();
  });
  const board = document.getElementById('board');
  if (board) {
    const scrolled = () => {
      const column = snappedColumn(board);
      if (column) display.showColumn(column, false);
    };
    board.addEventListener('scroll', scrolled, { passive: true });
    scope.add(() => board.removeEventListener('scroll', scrolled));
  }
}

function act(display: Display, control: HTMLElement): void {
  const data = control.dataset;
  const orderId = orderIdOf(control.closest<HTMLElement>('[data-order-id]'));
  switch (data['action']) {
    case 'bump':
      if (orderId) display.bump(orderId);
      break;
    case 'recall':
      if (orderId) display.recall(orderId);
      break;
    case 'tick':
      if (orderId && data['itemId']) display.tick(orderId, data['itemId']);
      break;
    case 'station':
      display.filterStation(data['station'] ?? null);
      break;
    case 'column':
      if (data['column']) display.showColumn(data['column'] as ColumnId, true);
      break;
    case 'place': {
      const place = PLACES.find((candidate) => candidate === data['place']);
      if (place) display.showPlace(place);
      break;
    }
    case 'place-order':
      display.placeOrder();
      break;
    case 'trouble': {
      const trouble = TROUBLES.find(({ kind }) => kind === data['kind']);
      if (trouble) void display.makeTrouble(trouble.kind, trouble.ms);
      break;
    }
    case 'rush':
      display.toggleRush({ rate: numberOf('rush-rate'), seconds: numberOf('rush-seconds'), cooks: input('rush-cooks')?.checked ?? false });
      break;
    case 'voice':
      display.toggleVoice();
      break;
    case 'sound':
      void display.setSound(!display.soundOn);
      break;
    case 'theme':
      display.toggleTheme();
      break;
    case 'settings':
      display.showSettings();
      break;
    case 'help':
      display.showHelp();
      break;
    case 'fold':
      display.toggleService();
      break;
    case 'try-now':
      display.tryNow();
      break;
    case 'connect':
      display.connect();
      break;
    case 'dismiss':
      display.dismissNotice(Number(data['notice']));
      break;
  }
}

/** Answers whether the key was taken. */
function press(display: Display, event: KeyboardEvent): boolean {
  if (document.querySelector('dialog[open]')) return false;
  const action = keyAction(event);
  if (!action) return false;
  const { keys } = display.settings.current;
  switch (action.kind) {
    case 'move':
      display.move(action.move);
      return true;
    case 'bump-selected':
      // On a button or a link Enter means that control.
      return !closest(event.target, 'button, a, summary') && display.bumpSelected();
    case 'clear':
      display.clearSelection();
      return true;
    case 'help':
      display.showHelp();
      return true;
    case 'bump-nth':
      if (keys) display.bumpNth(action.index);
      return keys;
    case 'tick-nth':
      if (keys) display.tickNth(action.index);
      return keys;
    case 'recall-last':
      if (keys) display.recallLast();
      return keys;
    case 'place-order':
      if (keys) display.placeOrder();
      return keys;
  }
}

function changeSetting(display: Display, control: HTMLElement): void {
  const { settings } = display;
  if (control instanceof HTMLSelectElement) {
    const value = control.value;
    if (control.dataset['setting'] === 'theme') settings.change({ theme: value as Settings['theme'] });
    if (control.dataset['setting'] === 'type') settings.change({ type: value as Settings['type'] });
    return;
  }
  if (!(control instanceof HTMLInputElement)) return;
  const { limits } = settings.current;
  switch (control.dataset['setting']) {
    case 'warm':
      settings.changeLimits(control.valueAsNumber, limits.late);
      break;
    case 'late':
      settings.changeLimits(limits.warm, control.valueAsNumber);
      break;
    case 'sound':
      void display.setSound(control.checked);
      break;
    case 'flash':
      settings.change({ flash: control.checked });
      break;
    case 'keys':
      settings.change({ keys: control.checked });
      break;
  }
}

/** The column a phone has swiped to; null where all are in view. */
function snappedColumn(board: HTMLElement): ColumnId | null {
  if (board.scrollWidth <= board.clientWidth + 1) return null;
  const columns = [...board.querySelectorAll<HTMLElement>('[data-column]')];
  const index = Math.round(board.scrollLeft / board.clientWidth);
  return (columns[index]?.dataset['column'] as ColumnId | undefined) ?? null;
}

function isTyping(target: EventTarget | null): boolean {
  return closest(target, 'input, select, textarea, [contenteditable]') !== null;
}

function closest(target: EventTarget | null, selector: string): HTMLElement | null {
  return target instanceof Element ? target.closest<HTMLElement>(selector) : null;
}

function orderIdOf(element: HTMLElement | null): string | undefined {
  return element?.dataset['orderId'];
}

function input(id: string): HTMLInputElement | null {
  const element = document.getElementById(id);
  return element instanceof HTMLInputElement ? element : null;
}

function numberOf(id: string): number {
  const element = document.getElementById(id);
  return element instanceof HTMLSelectElement ? Number(element.value) : 0;
}
