// What a machine needs, one entry each: how to see that it is there, and how to put it there.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { aptInstall, isRoot, onPath, unpack } from './apt.mjs';
import { Failure, output, root, step, tools } from './run.mjs';

const WASM_PACK = '0.15.1';
const KOSOKU = '0.1.0';
const WASM = 'wasm32-unknown-unknown';
const cargoHome = process.env.CARGO_HOME ?? join(homedir(), '.cargo');

// Ours first, then rustup's, which a login shell may not have told us about.
process.env.PATH = [join(tools, 'cargo/bin'), process.env.PATH, join(cargoHome, 'bin')].join(delimiter);
// apt, npm, cargo and the test runners must never wait for an answer.
process.env.DEBIAN_FRONTEND ??= 'noninteractive';
// What is downloaded is said first: rustup does nothing by itself.
process.env.RUSTUP_AUTO_INSTALL = '0';

const text = (path) => readFileSync(join(root, path), 'utf8');
const olderThan = (have, need) => have.localeCompare(need, 'en', { numeric: true }) < 0;

/** The version of a crate the whole workspace is locked to: the one place that says it. */
export function lockedVersion(crate) {
  const found = text('Cargo.lock').match(new RegExp(`name = "${crate}"\\nversion = "([^"]+)"`));
  if (!found) throw new Failure(`Cargo.lock does not name ${crate}: is the checkout complete?`);
  return found[1];
}

/** `npm` as it was called, or the one on PATH. */
export function npm(...args) {
  const own = process.env.npm_execpath;
  return own?.endsWith('.js') ? [process.execPath, [own, ...args]] : ['npm', args];
}

async function cargoInstall(crate, version, usual) {
  await step({
    what: `Installing ${crate} ${version} into .tools`,
    usual,
    log: `install-${crate}`,
    command: 'cargo',
    args: ['install', '--locked', crate, '--version', version, '--root', join(tools, 'cargo')],
    // Its own build folder, gone afterwards: neither a small /tmp nor the workspace's target is touched. It runs for seconds:
    // more optimisation would cost more of them than it saves.
    env: { CARGO_TARGET_DIR: join(tools, 'build'), CARGO_PROFILE_RELEASE_OPT_LEVEL: '1', CARGO_PROFILE_RELEASE_LTO: 'off', CARGO_PROFILE_RELEASE_CODEGEN_UNITS: '16' },
    failed: `Installing ${crate} ${version} failed`,
  });
  rmSync(join(tools, 'build'), { recursive: true, force: true });
}

async function hasVersion(program, version) {
  return (await output(program, ['--version']))?.split(' ').includes(version) ?? false;
}

/** What was installed, and whether it is still what is asked for. */
function stamp(path, asked) {
  const now = () => createHash('sha256').update(asked()).digest('hex');
  return { holds: () => existsSync(path) && readFileSync(path, 'utf8') === now(), set: () => writeFileSync(path, now()) };
}

const lockStamp = stamp(join(root, 'node_modules/.tautline-lock'), () => text('package-lock.json'));

const node = {
  name: 'Node 20.19 or newer',
  ok: async () => !olderThan(process.versions.node, '20.19'),
  install: async () => {
    throw new Failure(`Node 20.19 or newer is needed, this is ${process.versions.node}: see https://nodejs.org.`);
  },
};

async function rustup(what, usual, log, args) {
  if (!onPath('rustup')) throw new Failure(`${what} is missing, and so is rustup that would add it: install Rust from https://rustup.rs.`);
  await step({ what: `Adding ${what}`, usual, log, command: 'rustup', args, failed: `Adding ${what} failed` });
}

const channel = () => text('rust-toolchain.toml').match(/channel = "([^"]+)"/)[1];

const rustVersion = async (...which) => (await output('rustc', [...which, '--version']))?.split(' ')[1];

const rust = {
  name: 'Rust of the version in rust-toolchain.toml',
  ok: async () => {
    let version = await rustVersion();
    // The same version may be here under the name `stable`: then nothing is downloaded.
    if (version === undefined && (await rustVersion('+stable')) === channel()) {
      process.env.RUSTUP_TOOLCHAIN = 'stable';
      version = channel();
    }
    // Without rustup the file is not heeded, and a newer compiler will do.
    return version !== undefined && !olderThan(version, channel());
  },
  install: async () => {
    const args = ['toolchain', 'install', channel(), '--no-self-update', '--profile', 'minimal', '-c', 'rustfmt', '-c', 'clippy', '-t', WASM];
    await rustup(`Rust ${channel()}`, '30 s', 'rustup-toolchain', args);
  },
};

const compiler = {
  name: 'a C compiler',
  ok: async () => onPath(process.env.CC ?? 'cc') !== undefined,
  install: async () => {
    throw new Failure(
      'There is no C compiler (cc), which Rust links with and SQLite is written in: install one (Debian: apt-get install build-essential), then run this again.',
    );
  },
};

const cxx = {
  name: 'a C++ compiler',
  ok: async () => onPath(process.env.CXX ?? 'c++') !== undefined,
  install: async () => {
    throw new Failure(
      'There is no C++ compiler (c++), which libFuzzer is written in: install one (Debian: apt-get install build-essential), then run this again.',
    );
  },
};

const wasmTarget = {
  name: `the Rust target ${WASM}`,
  ok: async () => {
    const sysroot = await output('rustc', ['--print', 'sysroot']);
    return sysroot !== undefined && existsSync(join(sysroot, 'lib/rustlib', WASM, 'lib'));
  },
  install: () => rustup(`the Rust target ${WASM}`, '10 s', 'rustup-target', ['target', 'add', WASM]),
};

const lints = {
  name: 'rustfmt and clippy',
  ok: async () => Boolean((await output('cargo', ['fmt', '--version'])) && (await output('cargo', ['clippy', '--version']))),
  install: () => rustup('rustfmt and clippy', '10 s', 'rustup-component', ['component', 'add', 'rustfmt', 'clippy']),
};

const bindgen = {
  name: "wasm-bindgen's command line, of the crate's version",
  ok: async () => {
    const version = lockedVersion('wasm-bindgen');
    return (await hasVersion('wasm-bindgen', version)) && (await hasVersion('wasm-bindgen-test-runner', version));
  },
  install: () => cargoInstall('wasm-bindgen-cli', lockedVersion('wasm-bindgen'), '2 min'),
};

const wasmPack = {
  name: `wasm-pack ${WASM_PACK}`,
  ok: () => hasVersion('wasm-pack', WASM_PACK),
  install: () => cargoInstall('wasm-pack', WASM_PACK, '2 min'),
};

const packages = {
  name: 'the npm packages of package-lock.json',
  ok: async () => lockStamp.holds(),
  install: async () => {
    const [command, args] = npm('ci', '--include=dev', '--no-audit', '--no-fund');
    await step({ what: 'Installing the npm packages', usual: '15 s', log: 'npm-ci', command, args, failed: 'Installing the npm packages failed' });
    lockStamp.set();
  },
};

/** Chromium and its driver: told by the environment, the machine's, or ours without root. */
async function findBrowser() {
  const own = join(tools, 'chromium/bin');
  const pairs = [
    [process.env.TAUTLINE_CHROMIUM, process.env.TAUTLINE_CHROMEDRIVER],
    ...['chromium', 'google-chrome', 'chromium-browser'].map((name) => [onPath(name), onPath('chromedriver')]),
    [join(own, 'chromium'), join(own, 'chromedriver')],
  ];
  for (const [chromium, driver] of pairs) {
    if (!chromium || !driver || !existsSync(chromium) || !existsSync(driver)) continue;
    const versions = await Promise.all([chromium, driver].map((path) => output(path, ['--version'])));
    const [major, driverMajor] = versions.map((line) => line?.match(/(\d+)\.\d+\.\d+/)?.[1]);
    if (major && major === driverMajor) return { chromium, driver };
  }
  return undefined;
}

const browser = {
  name: 'Chromium and chromedriver',
  ok: async () => {
    const found = await findBrowser();
    if (!found) return false;
    process.env.TAUTLINE_CHROMIUM = found.chromium;
    process.env.TAUTLINE_CHROMEDRIVER = found.driver;
    return true;
  },
  install: async () => {
    if (!onPath('apt-get')) {
      throw new Failure('The tests need Chromium and chromedriver of one version on PATH: install them, then run this again.');
    }
    await (isRoot ? installBrowserAsRoot() : installBrowserAsUser());
  },
};

const PACKAGES = ['chromium', 'chromium-driver'];
const FAILED = 'Installing Chromium failed';

const installBrowserAsRoot = () => aptInstall('Chromium', 'chromium', PACKAGES, FAILED);

/** Chromium without root. */
async function installBrowserAsUser() {
  const folder = join(tools, 'chromium');
  await unpack({
    folder, packages: PACKAGES, programs: [['chromium', 'usr/lib/chromium/chromium'], ['chromedriver', 'usr/bin/chromedriver']],
    what: 'Downloading Chromium into .tools', usual: '1 min', log: 'chromium', failed: FAILED,
    environment: (unpacked) => (existsSync('/etc/fonts/fonts.conf') ? '' : `export FONTCONFIG_SYSROOT='${unpacked}'\n`),
  });
}

/** What the files in deploy/ are for, and what reads them: the tests start each, none as a service of the machine's. */
const SERVERS = [
  ['nginx', 'usr/sbin/nginx'], ['haproxy', 'usr/sbin/haproxy'], ['caddy', 'usr/bin/caddy'],
  ['promtool', 'usr/bin/promtool'], ['systemd-analyze', 'usr/bin/systemd-analyze'], ['openssl', 'usr/bin/openssl'],
];
const SBIN = ['/usr/sbin', '/usr/local/sbin'];

const servers = {
  name: 'nginx, HAProxy, Caddy, promtool, systemd-analyze and openssl',
  ok: async () => {
    // A user's PATH may well be without them.
    for (const folder of SBIN) if (!process.env.PATH.split(delimiter).includes(folder)) process.env.PATH += `${delimiter}${folder}`;
    const found = SERVERS.map(([name]) => [name, onPath(name) ?? join(tools, 'servers/bin', name)]);
    if (!found.every(([, path]) => existsSync(path))) return false;
    for (const [name, path] of found) process.env[`TAUTLINE_${name.toUpperCase().replace('-', '_')}`] = path;
    return true;
  },
  install: async () => {
    if (!onPath('apt-get')) throw new Failure(`The tests of deploy/ need ${servers.name} on PATH: install them, then run this again.`);
    await unpack({
      folder: join(tools, 'servers'), packages: ['nginx', 'haproxy', 'caddy', 'prometheus', 'systemd', 'openssl'], programs: SERVERS,
      what: 'Downloading nginx, HAProxy, Caddy and Prometheus into .tools', usual: '1 min', log: 'servers', failed: 'Downloading the servers failed',
    });
  },
};

const KOSOKU_FAILED = 'Installing kosoku failed';
const kosokuFolder = join(tools, 'kosoku');
const ownPython = join(tools, 'python');

/** A Python that may be used: the machine's, or ours without root. */
async function python() {
  for (const program of [onPath('python3'), join(ownPython, 'bin/python3')]) {
    if (!program || !existsSync(program)) continue;
    const version = (await output(program, ['--version']))?.split(' ')[1];
    if (version && !olderThan(version, '3.10')) return program;
  }
  return undefined;
}

/** What `python` is given so that it is pip: its own, or the one that Debian keeps as a file. */
async function pip(program) {
  if (await output(program, ['-m', 'pip', '--version'])) return ['-m', 'pip'];
  for (const folder of ['/usr/share/python-wheels', join(ownPython, 'root/usr/share/python-wheels')]) {
    const wheel = existsSync(folder) && readdirSync(folder).find((name) => /^pip-.*\.whl$/.test(name));
    if (wheel) return [join(folder, wheel, 'pip')];
  }
  return undefined;
}

/** A Python and what it is given so that it is pip; installed when there is none. */
async function pythonWithPip(failed) {
  let program = await python();
  let how = program && (await pip(program));
  if (!how) {
    if (!onPath('apt-get')) throw new Failure('The tests need Python 3.10 or newer with pip: install them, then run this again.');
    const packages = ['python3', 'python3-pip-whl'];
    if (isRoot) await aptInstall('Python', 'python', packages, failed);
    else {
      await unpack({
        folder: ownPython, packages, programs: [['python3', 'usr/bin/python3']],
        what: 'Downloading Python into .tools', usual: '1 min', log: 'python', failed,
        environment: (unpacked) => (onPath('python3') ? '' : `export PYTHONHOME='${join(unpacked, 'usr')}'\n`),
      });
    }
    program = await python();
    how = program && (await pip(program));
    if (!how) throw new Failure(`${failed}: Python and pip were installed and still do not answer; the log is .tools/logs/python.log.`);
  }
  return { program, how };
}

/** The Autobahn cases and what drives them, for Python. */
const kosoku = {
  name: `kosoku ${KOSOKU} (Autobahn's WebSocket cases)`,
  ok: async () => {
    const program = await python();
    if (!program || !existsSync(join(kosokuFolder, `kosoku-${KOSOKU}.dist-info`))) return false;
    const env = { ...process.env, PYTHONPATH: kosokuFolder };
    if ((await output(program, ['-c', 'import kosoku'], { env })) === undefined) return false;
    process.env.TAUTLINE_PYTHON = program;
    process.env.TAUTLINE_KOSOKU = kosokuFolder;
    return true;
  },
  install: async () => {
    const { program, how } = await pythonWithPip(KOSOKU_FAILED);
    rmSync(kosokuFolder, { recursive: true, force: true });
    await step({
      what: `Installing kosoku ${KOSOKU} into .tools`, usual: '5 s', log: 'kosoku', command: program, failed: KOSOKU_FAILED,
      args: [...how, 'install', '--quiet', '--no-deps', '--only-binary', ':all:', '--target', kosokuFolder, `kosoku==${KOSOKU}`],
    });
  },
};

/** npm packages that only tests want, in a folder apart from the workspaces. None of them needs a script of its own to be run. */
function apart(folder, of, log, usual = '10 s') {
  const lock = stamp(join(root, folder, 'node_modules/.tautline-lock'), () => text(`${folder}/package-lock.json`));
  return {
    name: `${of}, of ${folder}/package-lock.json`,
    ok: async () => lock.holds(),
    install: async () => {
      const [command, args] = npm('ci', '--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund');
      await step({ what: `Installing ${of}`, usual, log, command, args, failed: `Installing ${of} failed` });
      lock.set();
    },
  };
}

const officialForNode = apart('tests/official', "the Realtime API's clients for Node", 'official-npm');
const reacts = apart('tests/react', 'React 18 and 19', 'react-npm');
const bundlers = apart('tests/packaging', 'what builds and checks the packed package', 'packaging-npm', '1 min');

const officialFolder = join(tools, 'openai-python');
/** The Python that they were installed for is part of what is asked for: some are compiled for it. */
let officialVersion;
const officialPython = stamp(join(officialFolder, '.tautline-lock'), () => `${text('tests/official/requirements.txt')}${officialVersion}`);

const officialForPython = {
  name: "the Realtime API's client for Python, of tests/official/requirements.txt",
  ok: async () => {
    const program = await python();
    officialVersion = program && (await output(program, ['--version']));
    if (!officialVersion || !officialPython.holds()) return false;
    process.env.TAUTLINE_PYTHON = program;
    process.env.TAUTLINE_OPENAI_PYTHON = officialFolder;
    return true;
  },
  install: async () => {
    const what = "Installing the Realtime API's client for Python into .tools";
    const { program, how } = await pythonWithPip(`${what} failed`);
    officialVersion = await output(program, ['--version']);
    rmSync(officialFolder, { recursive: true, force: true });
    await step({
      what, usual: '15 s', log: 'official-pip', command: program, failed: `${what} failed`,
      args: [...how, 'install', '--quiet', '--no-deps', '--only-binary', ':all:', '--target', officialFolder, '-r', 'tests/official/requirements.txt'],
    });
    officialPython.set();
  },
};

/** What everything else needs, in this order. */
const FIRST = [node, rust, compiler];
/** Each in its order, beside the others: one compiles, two mostly download. */
const COMPILED = [wasmTarget, bindgen, wasmPack, lints];
const FROM_NPM = [packages, officialForNode, reacts, bundlers];
const FROM_DEBIAN = [browser, servers, kosoku, officialForPython, cxx];

const BUILD = [...FIRST, wasmTarget, bindgen, packages];
const TEST = [...BUILD, wasmPack, browser, servers, kosoku, officialForNode, officialForPython, reacts, bundlers];
const NEEDS = { build: BUILD, test: TEST, all: [...TEST, lints, cxx] };

/** Puts there what is missing for `what`; silent and quick when nothing is. */
export async function setup(what) {
  const meet = async (lane) => {
    for (const need of lane) {
      if (!NEEDS[what].includes(need) || (await need.ok())) continue;
      await need.install();
      if (!(await need.ok())) throw new Failure(`${need.name} was installed and still does not answer; its log is in .tools/logs.`);
    }
  };
  await meet(FIRST);
  await Promise.all([COMPILED, FROM_NPM, FROM_DEBIAN].map(meet));
}

/** Says of each need whether it is met, changing nothing. */
export async function report() {
  let missing = 0;
  for (const need of NEEDS.all) {
    const ok = await need.ok();
    if (!ok) missing += 1;
    console.log(`${ok ? 'ok     ' : 'missing'}  ${need.name}`);
  }
  console.log(missing ? '\n"node scripts/setup.mjs" installs what is missing.' : '\nEverything is there.');
  return missing ? 1 : 0;
}
