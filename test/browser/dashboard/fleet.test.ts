// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { chromium } from 'playwright-core';
import { Daemon } from '../../support/daemon.ts';
import { EtcdCluster } from '../../support/etcd.ts';
import { Gateway } from '../../support/gateway.ts';
import { ARGS, BROWSER, eventually, type Lab, openPage, post } from './support.ts';

/** A gateway with two hosts. */
let etcd: EtcdCluster;
let hosts: Daemon[];
let lab: Lab;
beforeAll(async () => {
  etcd = await EtcdCluster.start();
  hosts = ['hosta', 'hostb'].map(() => new Daemon({ DMAD_FAULTS: '1' }, { lifetimeMs: 300_000 }));
  const gateway = new Gateway(etcd.urls);
  const url = await gateway.ready();
  await eventually(async () => (await fetch(`${url}/readyz`)).ok);
  for (const [index, host] of hosts.entries()) {
    await fetch(`${url}/hosts/${['hosta', 'hostb'][index]}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ url: await host.ready() }),
    });
  }
  const browser = await chromium.launch({ executablePath: BROWSER, args: ARGS });
  lab = { daemon: gateway, url, browser, close: () => browser.close() };
  await eventually(async () => {
    const { devices } = (await (await fetch(`${url}/devices`)).json()) as { devices: unknown[] };
    return devices.length === 4;
  });
});
afterAll(async () => {
  await lab.close();
  await Promise.all([lab.daemon, ...hosts].map((each) => each.stop('SIGKILL')));
  await etcd.stop();
});

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
  await hosts[1]?.stop('SIGKILL');
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
