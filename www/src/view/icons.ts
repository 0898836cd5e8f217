import { svg } from '../dom/h';

/** Line drawings on a 24 grid, drawn in the colour of their text. */
const PATHS = {
  check: 'M5 12.5l4.5 4.5L19 7.5',
  back: 'M9 7l-5 5 5 5M4 12h10a5 5 0 0 1 0 10h-2',
  sound: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16 9a4 4 0 0 1 0 6M18.5 6.5a8 8 0 0 1 0 11',
  mute: 'M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM16.5 9.5l5 5M21.5 9.5l-5 5',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2.5v2M12 19.5v2M4.5 12h-2M21.5 12h-2M6.5 6.5L5 5M19 19l-1.5-1.5M6.5 17.5L5 19M19 5l-1.5 1.5',
  moon: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5',
  help: 'M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5v.5',
  plus: 'M12 5v14M5 12h14',
  chevron: 'M6 15l6-6 6 6',
  microphone: 'M12 3.5a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0v-5a3 3 0 0 0-3-3zM5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3',
  'hang-up': 'M3 13.5c5-5 13-5 18 0l-2.5 2.8-3.7-1.6v-2.4a12 12 0 0 0-5.6 0v2.4l-3.7 1.6z',
  warning: 'M12 4l9 16H3zM12 10v4.5M12 17v.5',
} as const;

export type IconName = keyof typeof PATHS;

/** A decorative icon; the control it sits in has words of its own. */
export function icon(name: IconName): SVGSVGElement {
  return svg('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' }, svg('path', { d: PATHS[name] }));
}

/** Shows another drawing in an icon made by `icon`. */
export function setIcon(element: SVGSVGElement, name: IconName): void {
  const path = element.firstElementChild;
  if (path && path.getAttribute('d') !== PATHS[name]) path.setAttribute('d', PATHS[name]);
}
