// The scenarios' modules, from their text: the test runner's small web server hands out one file at a time at ease,
// but a browser that asks for several at once it now and then leaves waiting for ever.

let loading;
let all;
let worklet;

/** Loads modules, `[name, text]` each, those that others import first. */
export function load(sources) {
  return (loading ??= (async () => {
    const urls = new Map();
    all = {};
    for (const [name, text] of sources) {
      const linked = text.replaceAll(/from '[./a-z]*\/([a-z]+\.js)'/g, (_, file) => `from '${urls.get(file)}'`);
      urls.set(name, URL.createObjectURL(new Blob([linked], { type: 'text/javascript' })));
      // The worklets' scope is another than the page's: only their address is wanted here.
      if (name === 'worklet.js') worklet = urls.get(name);
      else Object.assign(all, await import(urls.get(name)));
    }
  })());
}

/** Tells where the servers are, and makes the module's host. */
export function begin(relay, plain) {
  all.servers(relay, plain, worklet);
  return all.makeHost();
}

/** Plays a scenario with the module's classes; one that fails leaves nothing to the next. */
export async function play(name, classes) {
  try {
    await all[name](all.remembered(classes));
  } finally {
    await all.cleared();
  }
}
