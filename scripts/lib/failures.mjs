// What went wrong, said again at the end: a name and what the runner printed of it, out of thousands of lines.

const LINES = 60;

/** The blocks that begin at a line that `head` matches, whose first group is the test's name, and end before one that `end` matches. */
function blocks(text, head, end) {
  const found = [];
  let open;
  for (const line of text.split('\n')) {
    const begins = line.match(head);
    if (begins) found.push((open = { name: begins[1].trim(), lines: [] }));
    else if (open && end.test(line)) open = undefined;
    else open?.lines.push(line);
  }
  return found;
}

/** `cargo test`, whose output of a passed test has the same heading as that of a failed one. */
function rust(text) {
  const failed = new Set([...text.matchAll(/^test (.+?) \.\.\. FAILED$/gm)].map(([, name]) => name.replace(/ - should panic$/, '')));
  const said = new Map(blocks(text, /^---- (.+) stdout ----$/, /^(?:successes|failures):$/).map((block) => [block.name, block]));
  return [...failed].map((name) => said.get(name) ?? { name, lines: [] });
}

/** `node --test` into a pipe: TAP. */
const node = (text) => blocks(text, /^\s*not ok \d+ - (.+?)(?: # .*)?$/, /^\s*\.\.\.$/);

const playwright = (text) => blocks(text, /^ {2}\d+\) (.+?)[ ─]*$/, /^ {2}\d+ (?:failed|flaky|passed|skipped)/);

const vitest = (text) => blocks(text, /^\s?FAIL {2}(.+)$/, /^⎯/);

/** What failed in a runner's output, each with the first lines of what it said. */
export function failures(text) {
  return [...rust(text), ...node(text), ...vitest(text), ...playwright(text)].map(({ name, lines }) => {
    const said = lines.join('\n').trim().split('\n');
    if (said.length > LINES) said.splice(LINES, said.length, `… ${said.length - LINES} lines more above`);
    return [`✖ ${name}`, ...said.map((line) => (line ? `    ${line}` : ''))].join('\n');
  });
}
