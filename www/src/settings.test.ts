import { expect, it } from 'vitest';
import { parseSettings } from './settings';

it('takes what it stored, and its defaults for anything else', () => {
  const defaults = parseSettings(null);
  expect(parseSettings('not json')).toEqual(defaults);
  expect(parseSettings('[]')).toEqual(defaults);
  expect(parseSettings('{"theme":"pink","limits":{"warm":"x"},"keys":"no","station":4}')).toEqual(defaults);
  const chosen = { ...defaults, theme: 'dark', limits: { warm: 3, late: 6 }, station: 'Grill', sound: true, service: false };
  expect(parseSettings(JSON.stringify(chosen))).toEqual(chosen);
});
