// A bar chart as an SVG file that reads on light and dark pages alike.

const WIDTH = 720;
const ROW = 26;
const LABEL = 190;
const FIGURE = 150;
const COLOURS = ['#2f6fde', '#8a8f98', '#c08a3e', '#5a9a68', '#a0608c', '#4a9aa8'];

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);

/**
 * Horizontal bars in groups, a group to a scale of its own; the thin line shows the spread of the rounds.
 * @param {{ title: string, groups: { name: string, bars: { name: string, value: number, min?: number, max?: number, text: string }[] }[] }} chart
 */
export function barChart({ title, groups }) {
  const names = [...new Set(groups.flatMap((group) => group.bars.map((bar) => bar.name)))];
  const colour = (name) => COLOURS[names.indexOf(name) % COLOURS.length];
  const parts = [];
  let y = 34;
  for (const group of groups) {
    parts.push(`<text x="0" y="${y + 14}" class="group">${escape(group.name)}</text>`);
    y += 24;
    const most = Math.max(...group.bars.map((bar) => bar.max ?? bar.value)) || 1;
    const scale = (value) => (value / most) * (WIDTH - LABEL - FIGURE);
    for (const bar of group.bars) {
      const middle = y + 9;
      parts.push(
        `<text x="${LABEL - 8}" y="${middle + 4}" text-anchor="end">${escape(bar.name)}</text>`,
        `<rect x="${LABEL}" y="${y}" width="${Math.max(1, scale(bar.value)).toFixed(1)}" height="18" fill="${colour(bar.name)}"/>`,
      );
      if (bar.min !== undefined && bar.max !== undefined) {
        parts.push(`<line x1="${(LABEL + scale(bar.min)).toFixed(1)}" x2="${(LABEL + scale(bar.max)).toFixed(1)}" y1="${middle}" y2="${middle}" class="spread"/>`);
      }
      const end = LABEL + scale(Math.max(bar.value, bar.max ?? 0));
      parts.push(`<text x="${(end + 8).toFixed(1)}" y="${middle + 4}">${escape(bar.text)}</text>`);
      y += ROW;
    }
    y += 10;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y}" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="${escape(title)}">
<style>
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-size: 15px; font-weight: 600 }
.group { font-weight: 600 }
.spread { stroke: #24292f; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .spread { stroke: #e6edf3 } }
</style>
<text x="0" y="16" class="title">${escape(title)}</text>
${parts.join('\n')}
</svg>
`;
}
