// Numbers as people read them, and tables of them in Markdown.

/** Three digits that count, thousands apart: `1 234 000`, `12.3`, `0.00123`. */
export function number(value) {
  if (!Number.isFinite(value)) return '–';
  if (value === 0) return '0';
  const rounded = Number(value.toPrecision(3));
  if (Math.abs(rounded) < 1000) return String(rounded);
  return String(Math.round(rounded)).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

/** The median and how far the rounds were apart: `12.3 (11.9–13)`. */
export function spreadText({ median, min, max }, unit = '') {
  return `${number(median)}${unit} (${number(min)}–${number(max)})`;
}

/** A target beside what was reached: `✓ 1.4 (≥ 1.3)`. */
export function verdict({ median }, { least, most }) {
  const ok = (least === undefined || median >= least) && (most === undefined || median <= most);
  const bound = least === undefined ? `≤ ${number(most)}` : `≥ ${number(least)}`;
  return `${ok ? 'reached' : '**not reached**'} (${bound})`;
}

/** A Markdown table; the first column is text, the others figures. */
export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map((_, n) => (n === 0 ? '---' : '--:'))), ...rows.map(line)].join('\n');
}
