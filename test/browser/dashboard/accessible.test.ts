// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { writePeers } from '../../support/peers.ts';
import { eventually, type Lab, makeDirectory, openPage, startLab } from './support.ts';
import { makeBusy } from './views.ts';

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const directory = makeDirectory();
let lab: Lab;
let views: Record<string, string>;
beforeAll(async () => {
  // Nobody listens there: what is to come from it waits.
  const peers = [{ name: 'hostb', url: 'http://127.0.0.1:1' }];
  lab = await startLab({ DMAD_PEERS_FILE: writePeers(directory.path, peers) });
  views = await makeBusy(lab);
});
afterAll(async () => {
  await lab.close();
  directory.remove();
});

interface Violation {
  id: string;
  nodes: { html: string; failureSummary: string }[];
}

/** What axe-core finds on a page. */
async function violations(page: Page): Promise<string[]> {
  const found = await page.evaluate<Violation[]>(
    `${AXE}; axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations)`,
  );
  return found.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
  );
}

describe.each([
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['forced colours', { forcedColors: 'active' }],
  ['narrow', { viewport: { width: 360, height: 780 } }],
] as const)('axe-core finds nothing: %s', (_name, options) => {
  test('in any view', async () => {
    const { page, faults } = await openPage(lab, 'map', options);
    for (const [name, hash] of Object.entries(views)) {
      await page.goto(`${lab.url}/#/${hash}`);
      await page.locator('h1').waitFor();
      await page.waitForTimeout(300);
      expect([name, await violations(page)]).toEqual([name, []]);
      // Nothing is wider than the window.
      const wider = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      );
      expect([name, wider]).toEqual([name, 0]);
    }
    expect(faults).toEqual([]);
    await page.context().close();
  });

  test('in the dialog for the token', async () => {
    const { page } = await openPage(lab, 'map', options);
    await page.route('**/whoami', (route) => route.fulfill({ status: 401 }));
    await page.reload();
    await page.getByRole('dialog').waitFor();
    expect(await violations(page)).toEqual([]);
    await page.context().close();
  });
});

describe('by keyboard alone', () => {
  /** Presses Tab until what has the focus has that name. */
  async function tabTo(page: Page, name: string | RegExp): Promise<void> {
    const focused = () =>
      page.evaluate<string>(`(() => {
        const { activeElement: element } = document;
        const label = element.labels?.[0]?.textContent;
        return element.getAttribute('aria-label') ?? label ?? element.textContent ?? '';
      })()`);
    for (let presses = 0; presses < 80; presses++) {
      await page.keyboard.press('Tab');
      const label = (await focused()).trim();
      if (typeof name === 'string' ? label === name : name.test(label)) return;
    }
    throw new Error(`Tab does not reach ${name}`);
  }

  test('the map is zoomed, and its table leads to a transfer', async () => {
    const { page } = await openPage(lab, 'map');
    await tabTo(page, 'Zoom into dax0.0');
    await page.keyboard.press('Enter');
    await tabTo(page, 'Show all of dax0.0');
    expect(page.url()).toContain('dax0.0=');
    await page.keyboard.press('Enter');
    expect(page.url()).not.toContain('dax0.0=');
    await tabTo(page, 'Bytes in use');
    await tabTo(page, /^Copying 96 MiB/);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: /^Copying 96 MiB/ }).waitFor();
    // The view has the focus, so that the next Tab is in it.
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
    await page.context().close();
  });

  test('the list is filtered, a transfer gets another priority', async () => {
    const { page } = await openPage(lab, 'transfers');
    await tabTo(page, 'Queued');
    await page.keyboard.press('Enter');
    await page.locator('.rows [data-status="queued"]').first().waitFor();
    await eventually(async () => (await page.locator('[data-status="succeeded"]').count()) === 0);
    await tabTo(page, /^Priority of /);
    await page.keyboard.press('ArrowDown');
    await page.context().close();
  });

  test('a copy is started', async () => {
    const { page } = await openPage(lab, 'map');
    await tabTo(page, 'New');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'New' }).waitFor();
    await tabTo(page, 'To offset');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('240 MiB');
    await tabTo(page, 'Size');
    await page.keyboard.type('4096');
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: /^Accepted/ }).waitFor();
    await tabTo(page, /^Accepted/);
    await page.keyboard.press('Enter');
    await tabTo(page, /^Cancel/);
    await page.keyboard.press('Enter');
    await page.locator('.view-head [data-status="cancelled"]').waitFor();
    await tabTo(page, 'Copy the curl command');
    await page.context().close();
  });

  test('a replication is reached from the transfers, and cancelled', async () => {
    const { page } = await openPage(lab, 'transfers');
    await tabTo(page, 'Replications');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Replications' }).waitFor();
    await tabTo(page, /^Replicating /);
    await page.keyboard.press('Enter');
    await page.getByText(/^waits for its peer/).waitFor();
    await tabTo(page, 'Bytes a second');
    await page.keyboard.type('1 MiB');
    await page.keyboard.press('Enter');
    await page.getByText('1 MiB/s').waitFor();
    await tabTo(page, /^Cancel/);
    await page.keyboard.press('Enter');
    await page.locator('.view-head [data-status="cancelled"]').waitFor();
    await page.context().close();
  });

  test('the page pauses, and the first Tab skips to the view', async () => {
    const { page } = await openPage(lab, 'engines');
    await tabTo(page, 'Skip to the view');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
    await page.reload();
    await tabTo(page, 'Pause');
    await page.keyboard.press(' ');
    await page.locator('.link', { hasText: 'paused' }).waitFor();
    await page.context().close();
  });
});
