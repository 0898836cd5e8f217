import { readFileSync } from 'node:fs';
import { defineConfig } from '@playwright/test';

const { args } = JSON.parse(readFileSync(new URL('../../webdriver.json', import.meta.url), 'utf8'))['goog:chromeOptions'];

export default defineConfig({
  testDir: '.',
  testMatch: '*.spec.*',
  outputDir: '../../test-results',
  forbidOnly: true,
  // Two cores. Each test has a relay and pages of its own, and most of them wait for a clock most of the time.
  workers: 2,
  projects: [
    { name: 'beside', testIgnore: 'rush.spec.*' },
    // Takes both cores.
    { name: 'alone', testMatch: 'rush.spec.*', dependencies: ['beside'] },
  ],
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['list'], ['json', { outputFile: '../../test-results/e2e.json' }]],
  use: {
    trace: 'retain-on-failure',
    launchOptions: {
      executablePath: process.env.TAUTLINE_CHROMIUM,
      args,
      // Real back navigation is among what is tested.
      ignoreDefaultArgs: ['--disable-back-forward-cache'],
    },
  },
});
