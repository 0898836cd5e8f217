import { h } from '../dom/h';
import type { Settings } from '../settings';

const KEYS: readonly (readonly [string, string])[] = [
  ['1 … 9, 0', 'bump the first … tenth ticket of the marked column'],
  ['↑ ↓', 'select a ticket in the column'],
  ['← →', 'go to another column'],
  ['Tab', 'step through tickets and their items'],
  ['Enter', 'bump the selected ticket'],
  ['Shift + 1 … 9', 'tick off an item of the selected ticket'],
  ['Backspace or R', 'recall the last ticket bumped here'],
  ['N', 'place a random order'],
  ['Space', 'hold to talk, while the voice panel is open'],
  ['Esc', 'let go of the selection'],
  ['?', 'this list'],
];

/** What the keys do: a bump bar is a keyboard. */
export function helpDialog(): HTMLDialogElement {
  return dialog('help', 'Keys', h('dl', { class: 'keys' }, ...KEYS.flatMap(([keys, words]) => [h('dt', {}, h('kbd', {}, keys)), h('dd', {}, words)])));
}

/** This screen's settings; every control is named after the setting it changes. */
export class SettingsDialog {
  readonly #theme = choice('theme', [['auto', 'As the device'], ['light', 'Light'], ['dark', 'Dark']]);
  readonly #type = choice('type', [['auto', 'By screen size'], ['normal', 'Normal'], ['big', 'Big, for 3 metres']]);
  readonly #warm = minutes('warm');
  readonly #late = minutes('late');
  readonly #sound = toggle('sound');
  readonly #flash = toggle('flash');
  readonly #keys = toggle('keys');
  readonly element = dialog(
    'settings',
    'This screen',
    row('Colours', this.#theme),
    row('Type', this.#type),
    row('Amber after', this.#warm, 'minutes'),
    row('Red after', this.#late, 'minutes'),
    row('Sound for a new order', this.#sound),
    row('Flash for a new order', this.#flash),
    row('Number keys bump', this.#keys),
  );

  show(settings: Settings): void {
    this.#theme.value = settings.theme;
    this.#type.value = settings.type;
    this.#warm.value = String(settings.limits.warm);
    this.#late.value = String(settings.limits.late);
    this.#sound.checked = settings.sound;
    this.#flash.checked = settings.flash;
    this.#keys.checked = settings.keys;
    if (!this.element.open) this.element.showModal();
  }
}

function dialog(id: string, title: string, ...body: Node[]): HTMLDialogElement {
  const heading = `${id}-title`;
  return h(
    'dialog',
    { class: 'dialog', id, 'aria-labelledby': heading },
    h('form', { method: 'dialog' }, h('h2', { id: heading }, title), ...body, h('button', { class: 'button dialog-close', autofocus: true }, 'Done')),
  );
}

function row(label: string, control: HTMLElement, unit = ''): HTMLElement {
  return h('label', { class: 'row' }, h('span', {}, label), h('span', { class: 'row-control' }, control, unit));
}

function choice(setting: string, options: readonly (readonly [string, string])[]): HTMLSelectElement {
  return h('select', { 'data-setting': setting }, ...options.map(([value, label]) => h('option', { value }, label)));
}

function minutes(setting: string): HTMLInputElement {
  return h('input', { type: 'number', min: 1, max: 240, step: 1, inputmode: 'numeric', 'data-setting': setting });
}

function toggle(setting: string): HTMLInputElement {
  return h('input', { type: 'checkbox', class: 'switch', 'data-setting': setting });
}
