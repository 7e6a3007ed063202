// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type FleetLab, startFleetLab } from './fleet-lab.ts';
import { openPage, post } from './support.ts';

let lab: FleetLab;
beforeAll(async () => {
  lab = await startFleetLab();
});
afterAll(() => lab.close());

test('a fleet shows the devices of all hosts, a copy on one of them, and a host that goes away', async () => {
  const { page, faults } = await openPage(lab, 'new');
  await page.locator('#device_name').selectOption('hostb/dax0.0');
  await page.locator('#dst_device_name').selectOption('hostb/dax1.0');
  await page.locator('#size').fill('64 KiB');
  await page.getByRole('region', { name: 'Plan' }).getByText('64 KiB').first().waitFor();
  await page.getByRole('button', { name: 'Start the copy' }).click();
  await page.getByRole('link', { name: /^Accepted/ }).click();
  await page.getByRole('heading', { name: /64 KiB from hostb\/dax0.0/ }).waitFor();
  await page.locator('.view-head .state[data-status="succeeded"]').waitFor();

  await page.goto(`${lab.url}/#/transfers?device=hostb/dax1.0`);
  await page.locator('.rows .state[data-status="succeeded"]').first().waitFor();
  await page.goto(`${lab.url}/#/map`);
  await page.getByRole('heading', { name: 'hosta/dax0.0' }).waitFor();

  await page.getByRole('link', { name: 'Hosts' }).click();
  await page.locator('[data-host="hosta"] [data-state="ready"]').waitFor();
  await lab.hostb.stop('SIGKILL');
  await page.locator('[data-host="hostb"] [data-state="unreachable"]').waitFor();
  const { id } = await post(
    `${lab.url}/transfers`,
    {
      ...{ host: 'hostb', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
      ...{ src_offset: 0, dst_offset: 0, size: 4096 },
    },
    { prefer: 'respond-async' },
  );
  await page.goto(`${lab.url}/#/transfers/${id}`);
  await page.getByText(/^waits for its host/).waitFor();
  await page.goto(`${lab.url}/#/health`);
  await page.getByText('The gateway').waitFor();
  expect(faults).toEqual([]);
  await page.context().close();
});
