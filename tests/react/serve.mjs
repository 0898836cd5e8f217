// The page of tests/react as Vite's development server gives it, with one version of React or the other: only a
// development build mounts twice under StrictMode, and takes a file that was edited.

import { cp, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import react from '@vitejs/plugin-react';
import { build, createServer } from 'vite';

const home = fileURLToPath(new URL('.', import.meta.url));
const pkg = fileURLToPath(new URL('../../pkg', import.meta.url));
const at = (name) => join(home, 'node_modules', name);

/** @param {'18' | '19'} version */
export async function startReact(version) {
  const folder = await mkdtemp(join(home, '.page-'));
  await cp(join(home, 'page'), folder, { recursive: true });
  const suffix = version === '18' ? '-18' : '';
  // A plugin serves one server or one build.
  const config = () => ({
    root: folder,
    configFile: false,
    logLevel: 'error',
    plugins: [react()],
    resolve: {
      alias: [
        { find: /^react(\/.*)?$/, replacement: `${at(`react${suffix}`)}$1` },
        { find: /^react-dom(\/.*)?$/, replacement: `${at(`react-dom${suffix}`)}$1` },
        { find: /^tautline$/, replacement: join(pkg, 'dist/index.js') },
        { find: /^tautline\/react$/, replacement: join(pkg, 'dist/react.js') },
      ],
    },
  });
  const server = await createServer({
    ...config(),
    cacheDir: join(folder, '.vite'),
    server: { host: '127.0.0.1', port: 0, strictPort: false, fs: { allow: [folder, home, pkg] } },
  });
  await server.listen();
  return {
    url: server.resolvedUrls.local[0],
    /** Where the files are that may be edited. */
    folder,
    /** What a server makes of the same hooks. */
    async rendered() {
      const { NODE_ENV } = process.env;
      await build({ ...config(), ssr: { noExternal: true }, build: { ssr: 'server.jsx', outDir: 'server' } });
      // It says production from there on, which is not what the pages are to be served in.
      if (NODE_ENV === undefined) delete process.env.NODE_ENV;
      else process.env.NODE_ENV = NODE_ENV;
      return (await import(pathToFileURL(join(folder, 'server/server.js')))).pages();
    },
    async stop() {
      await server.close();
      await rm(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
    },
  };
}
