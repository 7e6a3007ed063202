// SPDX-License-Identifier: Apache-2.0
import type { Page } from 'playwright-core';

const MOST_PRESSES = 80;

/** Presses Tab until what has the focus has that name. */
export async function tabTo(page: Page, name: string | RegExp): Promise<void> {
  const focused = () =>
    page.evaluate<string>(`(() => {
      const { activeElement: element } = document;
      const label = element.labels?.[0]?.textContent;
      return element.getAttribute('aria-label') ?? label ?? element.textContent ?? '';
    })()`);
  for (let presses = 0; presses < MOST_PRESSES; presses++) {
    await page.keyboard.press('Tab');
    const label = (await focused()).trim();
    if (typeof name === 'string' ? label === name : name.test(label)) return;
  }
  throw new Error(`Tab does not reach ${name}`);
}

/** The same, and then Enter. */
export async function enter(page: Page, name: string | RegExp): Promise<void> {
  await tabTo(page, name);
  await page.keyboard.press('Enter');
}

/** Types into a field, in the place of what it has. */
export async function typeInto(page: Page, name: string | RegExp, text: string): Promise<void> {
  await tabTo(page, name);
  await page.keyboard.press('Control+A');
  await page.keyboard.type(text);
}

/** Chooses what a list has some places below what is chosen. */
export async function choose(page: Page, name: string | RegExp, below = 1): Promise<void> {
  await tabTo(page, name);
  for (let presses = 0; presses < below; presses++) await page.keyboard.press('ArrowDown');
}
