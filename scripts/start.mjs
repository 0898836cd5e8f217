// `npm start`: sets up, builds, and runs the relay with the page on it until it is told to end.

import { createServer } from 'node:net';
import { buildPackage, buildPage, buildRelay } from './lib/build.mjs';
import { Failure, main, start } from './lib/run.mjs';
import { setup } from './lib/setup.mjs';

/** The relay's way of saying that it wants to be started again (`/dev/trouble` `restart`). */
const RESTART = 75;

function portOf(text) {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Failure(`PORT is "${text}", which is no port number.`);
  return port;
}

/** Better said now than after minutes of building. */
function checkFree(port) {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error) =>
      reject(new Failure(
        error.code === 'EADDRINUSE'
          ? `Port ${port} is in use by another program: end it, or take another port with "PORT=${port + 1} npm start".`
          : `Port ${port} cannot be opened: ${error.message}.`,
      )));
    probe.listen(port, '127.0.0.1', () => probe.close(resolve));
  });
}

function welcome(url) {
  const order = '{"type":"dine-in","table_number":"7","items":[{"menu_item_id":"burger","name":"Burger","quantity":1,"price":9.5}]}';
  console.log(`
The kitchen display: ${url}/

Post an order from another terminal and watch it appear:

  TOKEN=$(curl -s '${url}/dev/token?restaurant_id=demo&role=server' | sed 's/.*"token":"\\([^"]*\\).*/\\1/')
  curl -X POST ${url}/api/v1/restaurants/demo/orders -H "authorization: Bearer $TOKEN" \\
    -H 'content-type: application/json' -d '${order}'

Ctrl-C ends it.
`);
}

/** Runs the relay once; its exit code. `onReady` gets the address it listens on. */
async function runRelay(program, port, onReady) {
  const args = ['serve', '--dev', '--listen', `127.0.0.1:${port}`, '--data-dir', process.env.TAUTLINE_DATA_DIR ?? 'data', '--www', 'www/dist'];
  const child = start(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let head = '';
  let ready = false;
  child.stdout.on('data', (chunk) => {
    process.stdout.write(chunk);
    if (ready) return;
    head += chunk;
    const found = head.match(/listening on (http:\/\/[^\s/]+)/);
    if (!found) return;
    ready = true;
    onReady(found[1]);
  });
  const { code, signal, error } = await child.ended;
  if (error) throw new Failure(`The relay does not start: ${error.message}.`);
  if (signal) throw new Failure(`The relay was ended by ${signal}.`);
  return code;
}

await main(
  async () => {
    let port = portOf(process.env.PORT ?? '8787');
    await checkFree(port);
    await setup('build');
    // Whoever has built one, the tests for example, need not build another.
    const relay = process.env.TAUTLINE_RELAY_PROGRAM ?? (await buildRelay());
    await buildPackage();
    await buildPage();

    let welcomed = false;
    for (;;) {
      const code = await runRelay(relay, port, (url) => {
        port = Number(new URL(url).port); // it was 0 perhaps: pages come back to the same one
        if (!welcomed) welcome(url);
        welcomed = true;
      });
      if (code !== RESTART) return code;
      console.log('The relay asked to be started again.');
    }
  },
  { exitOnSignal: 0 },
);
