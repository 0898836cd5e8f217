import { loadEnv } from 'vite';
import { defineConfig } from 'vitest/config';

export default defineConfig(({ mode }) => {
  // `npm run dev -w www` serves the page from Vite and passes everything else on to a relay, with the relay's
  // own origin on it: `/dev/…` answers to no other.
  const relay = loadEnv(mode, '.', 'TAUTLINE_')['TAUTLINE_RELAY'] ?? 'http://127.0.0.1:8787';
  const toRelay = { target: relay, changeOrigin: true, headers: { origin: relay } };

  return {
    // The package finds its wasm relative to its own module; prebundling would move the module away from it.
    optimizeDeps: { exclude: ['tautline'] },
    build: {
      target: 'es2022',
      // The first to know light-dark(), which the two colour schemes are written with.
      cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
      // The relay's policy allows files of its own origin only: nothing may be inlined into a data: URL.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
    },
    server: {
      host: '127.0.0.1',
      fs: { allow: ['..'] },
      proxy: {
        '/ws': { ...toRelay, ws: true, rewriteWsOrigin: true },
        '/api': toRelay,
        '/dev': toRelay,
        '/v1': toRelay,
        '/healthz': toRelay,
      },
    },
    test: { include: ['src/**/*.test.ts'], environment: 'node' },
  };
});
