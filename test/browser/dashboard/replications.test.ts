// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Daemon } from '../../support/daemon.ts';
import { writePeers } from '../../support/peers.ts';
import { eventually, type Lab, MIB, makeDirectory, openPage, post, startLab } from './support.ts';

const SIZE = 32 * MIB;

const directory = makeDirectory();
let source: Daemon;
let lab: Lab;
beforeAll(async () => {
  source = new Daemon({ DMAD_DEVICES: 'emulated:dax0.0=64MiB' }, { lifetimeMs: 300_000 });
  const url = await source.ready();
  await post(`${url}/transfers`, {
    ...{ operation: 'fill', device_name: 'dax0.0', dst_offset: 0, size: SIZE, pattern: 'a5' },
  });
  lab = await startLab({ DMAD_PEERS_FILE: writePeers(directory.path, [{ name: 'hostb', url }]) });
});
afterAll(async () => {
  await lab.close();
  await source.stop('SIGKILL');
  directory.remove();
});

async function replicationOf(id: string) {
  return (await fetch(`${lab.url}/replications/${id}`)).json() as Promise<Record<string, unknown>>;
}

test('a replication is started, limited, seen on the map, hurried, and proven', async () => {
  const { page, faults } = await openPage(lab, 'new?operation=replicate');
  const fields = { src_device_name: 'dax0.0', size: '32 MiB', dst_offset: '1 MiB' };
  for (const [name, value] of Object.entries(fields)) await page.locator(`#${name}`).fill(value);
  await page.locator('#bytes_per_second').fill('2 MiB');
  await page.getByRole('region', { name: 'Plan' }).getByText('32 blocks').waitFor();
  // What is wrong stands at its field.
  await page.locator('#peer').fill('nobody');
  await page.getByRole('button', { name: 'Start the replication' }).click();
  await page.locator('#peer-message.wrong').waitFor();
  await page.locator('#peer').fill('hostb');
  await page.getByRole('button', { name: 'Start the replication' }).click();
  await page.getByRole('link', { name: /^Accepted/ }).click();
  await page.getByRole('heading', { name: /^Replicating 32 MiB from hostb:dax0.0/ }).waitFor();
  const id = page.url().split('/').at(-1) ?? '';
  await page.locator('[data-consistency="inconsistent"]').waitFor();
  const copied = page.locator('[data-blocks="copied"]');
  await eventually(async () => Number(await copied.getAttribute('data-count')) > 0);

  await page.goto(`${lab.url}/#/map`);
  await page.locator('.uses [data-use="write"]').waitFor();
  await page.locator('.uses [data-use="inconsistent"]').waitFor();
  await page.getByRole('link', { name: /^Replicating 32 MiB/ }).click();

  await page.getByLabel(`Priority of ${id}`).selectOption('high');
  await eventually(async () => (await replicationOf(id)).priority === 'high');
  await page.locator('#bytes_per_second').fill('slow');
  await page.getByRole('button', { name: 'Set the limit' }).click();
  await page.locator('#bytes_per_second-message.wrong').waitFor();
  await page.locator('#bytes_per_second').fill('');
  await page.getByRole('button', { name: 'Set the limit' }).click();
  await page.locator('.view-head [data-status="succeeded"]').waitFor();
  await page.locator('[data-consistency="consistent"]').waitFor();
  expect((await replicationOf(id)).bytes_per_second).toBeNull();

  await page.goto(`${lab.url}/#/transfers`);
  await page.getByRole('link', { name: 'Replications' }).click();
  await page.locator('.rows a', { hasText: 'Replicated 32 MiB' }).waitFor();
  expect(faults).toEqual([]);
  await page.context().close();
});

test('one whose source is away says what it waits for, and is cancelled', async () => {
  source.child.kill('SIGSTOP');
  const { id } = await post(
    `${lab.url}/replications`,
    {
      ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: 0, size: SIZE },
      ...{ dst_device_name: 'dax1.0', dst_offset: 0 },
    },
    { prefer: 'respond-async' },
  );
  const { page, faults } = await openPage(lab, 'replications?show=running');
  const row = page.locator('.row', { has: page.locator(`a[href="#/replications/${id}"]`) });
  await row.waitFor();
  source.child.kill('SIGKILL');
  await row.getByText(/waits for its peer/).waitFor();
  await page.getByRole('button', { name: `Cancel ${id}` }).click();
  await eventually(async () => (await replicationOf(id)).status === 'cancelled');
  await row.waitFor({ state: 'hidden' });
  expect(faults).toEqual([]);
  await page.context().close();
});
