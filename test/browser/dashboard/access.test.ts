// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { secretOf, writeTokens } from '../../support/tokens.ts';
import { type Lab, makeDirectory, openPage, openTab, startLab } from './support.ts';

const directory = makeDirectory();
let lab: Lab;
beforeAll(async () => {
  const tokens = writeTokens(directory.path, [
    { name: 'anna' },
    { name: 'bert', scopes: ['content:read'] },
  ]);
  lab = await startLab({ DMAD_TOKENS_FILE: tokens });
});
afterAll(async () => {
  await lab.close();
  directory.remove();
});

test('a token is asked for, refused, used, and forgotten', async () => {
  const { page, faults } = await openPage(lab, 'transfers');
  const dialog = page.getByRole('dialog');
  const field = page.getByLabel('Token', { exact: true });
  await dialog.waitFor();
  await field.fill('wrong');
  await page.keyboard.press('Enter');
  await dialog.getByText('That token is not in force.').waitFor();
  await field.fill(secretOf('anna'));
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'hidden' });
  await page.locator('.link[data-state="live"]').waitFor();

  await fetch(`${lab.url}/transfers`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      authorization: `Bearer ${secretOf('anna')}`,
    },
    body: JSON.stringify({ device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 }),
  });
  await page.locator('.rows .state[data-status="succeeded"]').waitFor();
  // It is in this tab alone, and in no address.
  expect(page.url()).not.toContain('secret');
  expect(await page.evaluate('localStorage.length + document.cookie.length')).toBe(0);

  await page.reload();
  await page.locator('.rows .state[data-status="succeeded"]').waitFor();
  await page.getByRole('button', { name: 'Forget token' }).click();
  await dialog.waitFor();
  expect(await page.locator('.rows .state').count()).toBe(0);
  expect(await page.evaluate('sessionStorage.getItem("dmad-token")')).toBeNull();
  expect(faults).toEqual([]);
  await page.context().close();
});

test('a token that may not see transfers is told so, and asked for no other one again and again', async () => {
  const { page } = await openPage(lab, 'health');
  await page.getByLabel('Token', { exact: true }).fill(secretOf('bert'));
  await page.keyboard.press('Enter');
  await page.locator('.link[data-state="refused"]').waitFor();
  expect(await page.getByRole('dialog').count()).toBe(0);
  await page.getByText('bert', { exact: true }).waitFor();
  await page.context().close();
});

test('the tabs of a browser share one stream, and go on when the one that reads it is closed', async () => {
  const context = await lab.browser.newContext();
  let streams = 0;
  context.on('request', (request) => {
    if (new URL(request.url()).pathname === '/events') streams++;
  });
  const secret = secretOf('anna');
  await context.addInitScript(`sessionStorage.setItem('dmad-token', ${JSON.stringify(secret)})`);
  const first = await openTab(context, lab.url, 'transfers');
  const second = await openTab(context, lab.url, 'transfers');
  const third = await openTab(context, lab.url, 'map');
  for (const { page } of [second, third]) await page.locator('.link[data-state="live"]').waitFor();
  expect(streams).toBe(1);
  const copy = async () => {
    const answer = await fetch(`${lab.url}/transfers`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${secret}` },
      body: JSON.stringify({ device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 }),
    });
    return ((await answer.json()) as { id: string }).id;
  };
  const row = (id: string) => second.page.locator(`a[href="#/transfers/${id}"]`);
  await row(await copy()).waitFor();
  await first.page.close();
  await row(await copy()).waitFor();
  expect(streams).toBe(2);
  expect([...first.faults, ...second.faults, ...third.faults]).toEqual([]);
  await context.close();
});
