// `npm test`: everything, from nothing. `npm test -- native autobahn wasm package packaging wire deploy official e2e` runs some of it.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { buildEcho, buildPackage, buildPage, buildRelay, targetDir } from './lib/build.mjs';
import { Failure, main, root, start, stop } from './lib/run.mjs';
import { secretsInLogs } from './lib/secrets.mjs';
import { npm, setup } from './lib/setup.mjs';
import { autobahnSuite, nativeSuites, nodeSuite, playwrightSuite, suite, table, typesSuite, rustSuite } from './lib/suites.mjs';
import { wasm } from './lib/wasm.mjs';

/** What later suites need, compiled with what the native one leaves of the processors: it waits for clocks most of its time. */
function ahead() {
  const child = start(process.execPath, ['scripts/build.mjs', '--tests']);
  setPriority(child.pid, 19);
  // What fails there fails again where it is waited for, and says so.
  for (const stream of [child.stdout, child.stderr]) stream.resume();
  return child.ended;
}

// The root crate is for wasm. The simulation says how much it played: hence the output of what passes.
async function native() {
  let built;
  const rows = await suite('native', 'cargo', ['test', '--workspace', '--exclude', 'tautline', '--no-fail-fast', '--', '--show-output'], {
    rows: nativeSuites,
    running: () => (built = ahead()),
  });
  await built;
  return rows;
}

/** Groups of Autobahn's cases: 9 measures speed, 12 and 13 are compression, which is not negotiated. */
const GROUPS = ['1', '2', '3', '4', '5', '6', '7', '10'];

/** The cases against an echo server on the relay's WebSocket layer. */
async function autobahn(program) {
  const echo = start(program, []);
  try {
    let said = '';
    const address = await Promise.race([
      new Promise((resolve) => echo.stdout.on('data', (chunk) => {
        said += chunk;
        const found = said.match(/listening on http:\/\/(\S+)\n/);
        if (found) resolve(found[1]);
      })),
      echo.ended.then(({ error, code, signal }) => {
        throw new Failure(`The echo server ended (${error?.message ?? signal ?? code}).`);
      }),
    ]);
    const report = join(await targetDir(), 'autobahn');
    rmSync(report, { recursive: true, force: true });
    const args = ['-c', 'from kosoku._cli import main; main()', '-o', report, ...GROUPS.flatMap((group) => ['-i', `${group}.*`]), `ws://${address}`];
    return await suite('autobahn', process.env.TAUTLINE_PYTHON, args, {
      rows: autobahnSuite(report, GROUPS),
      needsAll: true,
      env: { PYTHONPATH: process.env.TAUTLINE_KOSOKU },
    });
  } finally {
    await stop(echo);
  }
}

/** The TypeScript layer's and the page's own tests, where a workspace has any. */
async function packages() {
  const rows = [];
  for (const workspace of ['pkg', 'www']) {
    const { scripts } = JSON.parse(readFileSync(join(root, workspace, 'package.json'), 'utf8'));
    for (const [script, read] of [['typecheck', typesSuite(`${workspace} (types)`)], ['test', nodeSuite(`${workspace} (npm test)`)]]) {
      if (!scripts?.[script]) continue;
      const [command, args] = npm('run', script, '-w', workspace);
      rows.push(...(await suite(workspace, command, args, { rows: read, needsAll: true })));
    }
  }
  return rows;
}

/** The recording that a browser has just made, played again natively: the same states and outputs. Of the whole workspace, or the native suite's build would not do. */
const replay = () =>
  suite('replay', 'cargo', ['test', '--workspace', '--exclude', 'tautline', '--test', 'replay', 'given', '--', '--show-output'], {
    rows: rustSuite('a browser\'s recording'),
    needsAll: true,
    env: { TAUTLINE_RECORDING: join(root, 'test-results/recordings/browser.json') },
  });

async function e2e(program) {
  const cli = join(root, 'node_modules/@playwright/test/cli.js');
  const rows = await suite('end to end', process.execPath, [cli, 'test', '--config', 'tests/e2e/playwright.config.mjs'], {
    rows: playwrightSuite,
    needsAll: true,
    env: { TAUTLINE_RELAY_PROGRAM: program },
  });
  return [...rows, ...(await replay())];
}

/** This client and relay with those of earlier versions, as they were recorded. */
const wire = (program) =>
  suite('wire versions', process.execPath, ['--test', 'tests/wire/relay.test.mjs', 'tests/wire/client.test.mjs'], {
    rows: nodeSuite('wire versions'),
    needsAll: true,
    env: { TAUTLINE_RELAY_PROGRAM: program },
  });

/** The files of deploy/, read and started by the programs they are for. */
const deployed = (program) =>
  suite('deploy', process.execPath, ['--test', '--test-concurrency=1', 'tests/deploy/files.test.mjs', 'tests/deploy/docs.test.mjs', 'tests/deploy/screens.test.mjs', 'tests/deploy/proxies.test.mjs'], {
    rows: nodeSuite('deploy'),
    needsAll: true,
    env: { TAUTLINE_RELAY_PROGRAM: program },
  });

/** The package as npm gives it to its users: packed, installed into empty projects, built by each bundler, opened in a browser. */
async function packaging(program) {
  const { pack } = await import('../tests/packaging/packed.mjs');
  const { home, tarball, remove } = await pack();
  const files = ['size', 'tarball', 'types', 'parts', 'loading', 'testing', 'builds'].map((name) => `tests/packaging/${name}.test.mjs`);
  try {
    return await suite('packaging', process.execPath, ['--test', '--test-concurrency=2', ...files], {
      rows: nodeSuite('packaging'),
      needsAll: true,
      env: { TAUTLINE_RELAY_PROGRAM: program, TAUTLINE_PACKED: home, TAUTLINE_TARBALL: tarball },
    });
  } finally {
    await remove();
  }
}

/** The Realtime API's own clients, unmodified, against the relay. */
async function official(program) {
  const { makeCertificate } = await import('../tests/official/certificate.mjs');
  const { certificate, key, remove } = await makeCertificate();
  const files = ['agents-page', 'openai-node', 'agents-socket', 'openai-python'].map((name) => `tests/official/${name}.test.mjs`);
  try {
    return await suite('official clients', process.execPath, ['--test', '--test-concurrency=2', ...files], {
      rows: nodeSuite('official clients'),
      needsAll: true,
      env: { TAUTLINE_RELAY_PROGRAM: program, TAUTLINE_TEST_CERTIFICATE: certificate, TAUTLINE_TEST_KEY: key, NODE_EXTRA_CA_CERTS: certificate },
    });
  } finally {
    remove();
  }
}

const SUITES = ['native', 'autobahn', 'wasm', 'package', 'packaging', 'wire', 'deploy', 'official', 'e2e'];

await main(async () => {
  const asked = process.argv.slice(2);
  const unknown = asked.find((name) => !SUITES.includes(name));
  if (unknown) throw new Failure(`There is no suite "${unknown}"; there are ${SUITES.join(', ')}.`);
  const wants = (name) => asked.length === 0 || asked.includes(name);

  await setup('test');
  // Every relay that a suite below starts leaves its most verbose log there.
  const logs = join(root, 'test-logs');
  rmSync(logs, { recursive: true, force: true });
  process.env.TAUTLINE_RELAY_LOGS = logs;
  const rows = [];
  if (wants('native')) rows.push(...(await native()));
  if (wants('autobahn')) rows.push(...(await autobahn(await buildEcho({ tested: wants('native') }))));
  const relay = ['wasm', 'packaging', 'wire', 'deploy', 'official', 'e2e'].some(wants) ? await buildRelay({ tested: wants('native') }) : undefined;
  if (wants('wasm')) rows.push(...(await wasm(relay)));
  if (['package', 'packaging', 'wire', 'deploy', 'e2e'].some(wants)) await buildPackage();
  if (wants('package')) rows.push(...(await packages()));
  if (wants('packaging')) rows.push(...(await packaging(relay)));
  if (wants('wire')) rows.push(...(await wire(relay)));
  if (wants('deploy')) rows.push(...(await deployed(relay)));
  if (wants('official')) rows.push(...(await official(relay)));
  if (wants('e2e')) {
    await buildPage();
    rows.push(...(await e2e(relay)));
    rows.push(await secretsInLogs(logs));
  }

  const problems = rows.filter((row) => row.problem);
  const failed = problems.flatMap((row) => row.failures ?? []);
  const verdict = problems.length ? `FAILED: ${problems.map((row) => `${row.name} (${row.problem})`).join(', ')}` : 'All suites passed.';
  const closing = [table(rows), ...failed, verdict].join('\n\n');
  console.log(`\n${closing}`);
  // Kept as well, for whoever runs more behind the tests and wants to end with what counts.
  mkdirSync(logs, { recursive: true });
  writeFileSync(join(logs, 'closing.txt'), `${closing}\n`);
  return problems.length ? 1 : 0;
});
