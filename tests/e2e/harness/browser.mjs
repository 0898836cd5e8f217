// A browser whose tabs are hidden, frozen and kept as a person's would be. Playwright makes every page of its own
// contexts believe that it has the focus, which keeps it visible for ever; attached from outside it lets them be.

import { chromium } from '@playwright/test';
import { createServer } from 'node:net';

async function freePort() {
  const probe = createServer();
  await new Promise((resolve, reject) => probe.once('error', reject).listen(0, '127.0.0.1', resolve));
  const { port } = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/**
 * @param {{ launchOptions: import('@playwright/test').LaunchOptions }} options the project's, by the fixture of that name
 */
export async function openBrowser({ launchOptions }) {
  const port = await freePort();
  const launched = await chromium.launch({ ...launchOptions, args: [...launchOptions.args, `--remote-debugging-port=${port}`] });
  const browser = await chromium.connectOverCDP(`http://127.0.0.1:${port}`, { noDefaults: true });
  const [context] = browser.contexts();
  return {
    context,
    newPage: () => context.newPage(),
    /** Puts another tab before the page: it is hidden. */
    async hide() {
      const other = await context.newPage();
      await other.bringToFront();
      return other;
    },
    async close() {
      await browser.close();
      await launched.close();
    },
  };
}

/**
 * Freezes a page as a phone does with a tab in the background, until the returned function is called.
 * @param {import('@playwright/test').Page} page
 */
export async function freeze(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Page.setWebLifecycleState', { state: 'frozen' });
  return async () => {
    await session.send('Page.setWebLifecycleState', { state: 'active' });
    await session.detach();
  };
}

/** The browser's own counts, after what is garbage has gone. @param {import('@playwright/test').Page} page */
export async function browserCounts(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('Performance.enable');
  for (let n = 0; n < 3; n += 1) {
    await session.send('HeapProfiler.collectGarbage');
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 0)));
  }
  const { metrics } = await session.send('Performance.getMetrics');
  await session.detach();
  const value = (wanted) => metrics.find(({ name }) => name === wanted).value;
  return { listeners: value('JSEventListeners'), nodes: value('Nodes'), heap: value('JSHeapUsedSize') };
}
