// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { Daemon } from '../../support/daemon.ts';
import { freePort } from '../../support/free-port.ts';
import { hang, makeDirectory, openPage, startCopy, startLab } from './support.ts';

test('a daemon that is killed and comes back is noticed, and the page goes on by itself', async () => {
  const directory = makeDirectory();
  const environment = { DMAD_PORT: String(await freePort()), DMAD_STATE_DIR: directory.path };
  const lab = await startLab(environment);
  await hang(lab.url, 'dax1.0', 0, 2 ** 27);
  const { page, faults } = await openPage(lab, 'transfers');
  const { id } = await startCopy(lab.url, 0, 2 ** 27);
  await page.locator('.rows [data-status="running"]').first().waitFor();
  await lab.daemon.stop('SIGKILL');
  await page.locator('.link[data-state="lost"]').waitFor();

  const again = new Daemon(
    {
      DMAD_DEVICES: 'emulated:dax0.0=256MiB,emulated:dax1.0=256MiB',
      ...environment,
    },
    { lifetimeMs: 120_000 },
  );
  await again.ready();
  await page.locator('.link[data-state="live"]').waitFor();
  // It runs again from its start, without faults now.
  const row = page.locator('.row', { has: page.locator(`a[href="#/transfers/${id}"]`) });
  await row.locator('[data-status="succeeded"]').first().waitFor();
  const later = await startCopy(lab.url, 0, 4096);
  await page.locator(`a[href="#/transfers/${later.id}"]`).waitFor();
  expect(faults).toEqual([]);
  await lab.browser.close();
  await again.stop('SIGKILL');
  directory.remove();
});
