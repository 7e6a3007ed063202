// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect } from '@jest/globals';
import type { Page } from 'playwright-core';

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

interface Violation {
  id: string;
  nodes: { html: string; failureSummary: string }[];
}

/** What each view is looked at with. */
export const APPEARANCES = [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['forced colours', { forcedColors: 'active' }],
  ['narrow', { viewport: { width: 360, height: 780 } }],
] as const;

/** What axe-core finds on a page. */
export async function violations(page: Page): Promise<string[]> {
  const found = await page.evaluate<Violation[]>(
    `${AXE}; axe.run({ resultTypes: ['violations'] }).then(({ violations }) => violations)`,
  );
  return found.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`),
  );
}

/** axe-core finds nothing in what a page shows, and nothing is wider than the window. */
export async function expectAccessible(page: Page, name: string): Promise<void> {
  expect([name, await violations(page)]).toEqual([name, []]);
  const wider = await page.evaluate(
    'document.documentElement.scrollWidth - document.documentElement.clientWidth',
  );
  expect([name, wider]).toEqual([name, 0]);
}
