// SPDX-License-Identifier: Apache-2.0

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writePeers } from '../../support/peers.ts';
import { APPEARANCES, expectAccessible, violations } from './axe.ts';
import { choose, enter, tabTo, typeInto } from './keyboard.ts';
import { eventually, type Lab, makeDirectory, openPage, startLab } from './support.ts';
import { makeBusy } from './views.ts';

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

describe.each(APPEARANCES)('axe-core finds nothing: %s', (_name, options) => {
  test('in any view', async () => {
    const { page, faults } = await openPage(lab, 'map', options);
    for (const [name, hash] of Object.entries(views)) {
      await page.goto(`${lab.url}/#/${hash}`);
      await page.locator('h1').waitFor();
      await page.waitForTimeout(300);
      await expectAccessible(page, name);
    }
    expect(faults).toEqual([]);
    await page.context().close();
  });

  test('in a form that says what is wrong, and beside what it has started', async () => {
    const { page, faults } = await openPage(lab, 'new?operation=fill', options);
    await page.locator('#ranges').selectOption('several segments');
    await page.locator('#segments').fill('0, 4 KiB\n8 KiB');
    await page.locator('#segments-message.wrong').waitFor();
    await expectAccessible(page, 'wrong');
    await page.locator('#segments').fill('192 MiB, 4 KiB\n200 MiB, 4 KiB');
    await page.getByRole('region', { name: 'Plan' }).getByText('8 KiB').first().waitFor();
    await expectAccessible(page, 'planned');
    await page.getByRole('button', { name: 'Start the fill' }).click();
    await page.getByRole('link', { name: /^Accepted/ }).waitFor();
    await expectAccessible(page, 'accepted');
    await page.getByRole('link', { name: /^Accepted/ }).click();
    await page.getByRole('region', { name: 'Segments' }).waitFor();
    await expectAccessible(page, 'segments');
    expect(faults).toEqual([]);
    await page.context().close();
  });

  test('when the page pauses or something did not work', async () => {
    const { page } = await openPage(lab, 'transfers?show=running', options);
    await page.getByRole('button', { name: 'Pause' }).click();
    await expectAccessible(page, 'paused');
    await page.getByRole('button', { name: 'Pause' }).click();
    const problem = { code: 'not_cancellable', status: 409, title: 'no', detail: 'It is over.' };
    await page.route('**/cancel', (route) => route.fulfill({ status: 409, json: problem }));
    await page
      .getByRole('button', { name: /^Cancel/ })
      .first()
      .click();
    await page.getByRole('button', { name: 'Dismiss' }).waitFor();
    await expectAccessible(page, 'notice');
    await page.goto(`${lab.url}/#/transfers/019a0000-0000-7000-8000-000000000000`);
    await page.locator('main .alert').waitFor();
    await expectAccessible(page, 'unknown');
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
    await choose(page, /^Priority of /);
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

  test('segments are filled: what is wrong with them is said, and mended', async () => {
    const { page } = await openPage(lab, 'new');
    await enter(page, 'Fill');
    await choose(page, 'Ranges');
    await tabTo(page, /^Segments/);
    await page.keyboard.type('208 MiB, 4 KiB\n212 MiB');
    await page.locator('#segments-message.wrong').waitFor();
    await page.keyboard.type(', 4 KiB');
    await page.locator('#segments-message.quiet').waitFor();
    await typeInto(page, 'Pattern', '5a');
    await enter(page, 'Start the fill');
    await enter(page, /^Accepted/);
    await page.getByRole('heading', { name: /8 KiB in 2 pieces/ }).waitFor();
    await tabTo(page, 'Segments');
    await page.context().close();
  });

  test('a comparison is started', async () => {
    const { page } = await openPage(lab, 'new');
    await enter(page, 'Compare');
    await typeInto(page, 'First offset', '200 MiB');
    await typeInto(page, 'Second offset', '220 MiB');
    await typeInto(page, 'Size', '4 KiB');
    await page.keyboard.press('Enter');
    await enter(page, /^Accepted/);
    await page.getByRole('heading', { name: /^Compared 4 KiB/ }).waitFor();
    await page.context().close();
  });

  test('a file is uploaded, and bytes are downloaded', async () => {
    const { page } = await openPage(lab, 'new');
    const path = join(directory.path, 'file.bin');
    writeFileSync(path, 'some bytes');
    page.on('filechooser', (chooser) => chooser.setFiles(path));
    await enter(page, 'Upload');
    await tabTo(page, 'Drop a file here, or choose one');
    await page.keyboard.press('Enter');
    await page.getByText('file.bin, 10 B').waitFor();
    await typeInto(page, 'To offset', '224 MiB');
    await enter(page, 'Upload the file');
    await page.getByText('the same as the file').waitFor();
    await page.goto(`${lab.url}/#/new`);
    await enter(page, 'Download');
    await typeInto(page, 'From offset', '224 MiB');
    await typeInto(page, 'Size', '10');
    const download = page.waitForEvent('download');
    await enter(page, 'Download the bytes');
    expect((await download).suggestedFilename()).toMatch(/\.bin$/);
    await page
      .getByRole('region', { name: 'Download', exact: true })
      .getByText('10 B in')
      .waitFor();
    await page.context().close();
  });

  test('a replication is started: what is wrong is said at its field', async () => {
    const { page } = await openPage(lab, 'new');
    await enter(page, 'Replicate');
    await page.getByText('as DMAD_PEERS_FILE names it').waitFor();
    await typeInto(page, 'Peer', 'nobody');
    await typeInto(page, 'From device', 'dax0.0');
    await typeInto(page, 'Size', '1 MiB');
    await choose(page, 'To device', 0);
    await typeInto(page, 'To offset', '232 MiB');
    await choose(page, 'Mode');
    await typeInto(page, 'Bytes a second', '1 MiB');
    await page.keyboard.press('Enter');
    await page.locator('#peer-message.wrong').waitFor();
    await enter(page, 'Replicate');
    await typeInto(page, 'Peer', 'hostb');
    await enter(page, 'Start the replication');
    await enter(page, /^Accepted/);
    await page.getByRole('heading', { name: /^Replicat.* 1 MiB, all of it/ }).waitFor();
    await enter(page, /^Cancel/);
    await page.locator('.view-head [data-status="cancelled"]').waitFor();
    await tabTo(page, 'Copy the curl command');
    await page.context().close();
  });

  test('what this tab did is scrolled in the health view', async () => {
    const { page } = await openPage(lab, 'map');
    await enter(page, 'Health');
    await page.getByRole('heading', { name: 'Health' }).waitFor();
    await tabTo(page, 'The HTTP interface');
    await tabTo(page, 'What this tab did');
    await page.context().close();
  });

  test('a token is refused, and the question declined', async () => {
    const { page } = await openPage(lab, 'map');
    await page.route('**/whoami', (route) => route.fulfill({ status: 401 }));
    await page.reload();
    const dialog = page.getByRole('dialog');
    await dialog.waitFor();
    // The field has the focus.
    await page.keyboard.type('not a token');
    await page.keyboard.press('Enter');
    await page.getByText('That token is not in force.').waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    await enter(page, 'Give a token');
    await dialog.waitFor();
    await enter(page, 'Not now');
    await dialog.waitFor({ state: 'hidden' });
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
