// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { APPEARANCES, expectAccessible } from './axe.ts';
import { type FleetLab, startFleetLab } from './fleet-lab.ts';
import { choose, enter, tabTo } from './keyboard.ts';
import { ASYNC, eventually, hang, MIB, openPage, post, transferOf } from './support.ts';

/** So slow that it runs for as long as the tests do. */
const SLOW = { mode: 'full', bytes_per_second: '64KiB', block_size: '64KiB' };

let lab: FleetLab;
/** A copy on one host that runs, another one that waits for it, and one between hosts. */
let running: string;
let queued: string;
let between: string;
beforeAll(async () => {
  lab = await startFleetLab();
  await hang(await lab.hosta.ready(), 'dax0.0', 0, MIB);
  const onHost = { host: 'hosta', device_name: 'dax0.0', dst_device_name: 'dax1.0' };
  const range = { src_offset: 0, dst_offset: 0, size: MIB };
  const start = async (more: object) => {
    const answer = await post(`${lab.url}/transfers`, { ...onHost, ...range, ...more }, ASYNC);
    expect(answer).toHaveProperty('id');
    return answer.id;
  };
  running = await start({ labels: { job: 'nightly' } });
  queued = await start({ priority: 'low' });
  between = await start({ ...SLOW, dst_host: 'hostb', src_offset: 8 * MIB, size: 16 * MIB });
  for (const id of [running, between]) {
    await eventually(async () => (await transferOf(lab.url, id)).status === 'running');
  }
});
afterAll(() => lab.close());

const priorityOf = async (id: string) => (await transferOf(lab.url, id)).priority;

describe.each(APPEARANCES)('axe-core finds nothing at a gateway: %s', (_name, options) => {
  test('in any view', async () => {
    const views = {
      ...{ hosts: 'hosts', map: 'map', transfers: 'transfers', health: 'health' },
      ...{ running: `transfers/${running}`, between: `transfers/${between}` },
      ...{ copy: 'new', upload: 'new?operation=upload', download: 'new?operation=download' },
    };
    const { page, faults } = await openPage(lab, 'hosts', options);
    for (const [name, hash] of Object.entries(views)) {
      await page.goto(`${lab.url}/#/${hash}`);
      await page.locator('h1').waitFor();
      if (name === 'hosts') await page.locator('[data-host="hostb"]').waitFor();
      await page.waitForTimeout(300);
      await expectAccessible(page, name);
    }
    expect(faults).toEqual([]);
    await page.context().close();
  });
});

describe('by keyboard alone, at a gateway', () => {
  async function open(hash: string): Promise<Page> {
    return (await openPage(lab, hash)).page;
  }

  test('the hosts are reached, scrolled, and lead to the transfers of a device', async () => {
    const page = await open('map');
    await enter(page, 'Hosts');
    await page.locator('[data-host="hosta"]').waitFor();
    await tabTo(page, 'Hosts');
    await enter(page, 'dax0.0');
    await page.getByRole('heading', { name: 'Transfers' }).waitFor();
    expect(new URL(page.url()).hash).toContain('device=hosta%2Fdax0.0');
    await page.context().close();
  });

  test('what waits gets another priority', async () => {
    const page = await open(`transfers/${queued}`);
    await page.getByLabel(`Priority of ${queued}`).waitFor();
    expect(await priorityOf(queued)).toBe('low');
    await tabTo(page, `Priority of ${queued}`);
    await page.keyboard.press('ArrowUp');
    await eventually(async () => (await priorityOf(queued)) === 'normal');
    await page.context().close();
  });

  test('what runs on a host keeps its priority; between hosts it gets another one, and another rate', async () => {
    const page = await open(`transfers/${running}`);
    await page.getByRole('button', { name: `Cancel ${running}` }).waitFor();
    expect(await page.getByLabel(`Priority of ${running}`).count()).toBe(0);
    await page.goto(`${lab.url}/#/transfers/${between}`);
    await page.getByRole('region', { name: 'Blocks' }).waitFor();
    await choose(page, `Priority of ${between}`);
    await eventually(async () => (await priorityOf(between)) === 'low');
    await tabTo(page, 'Bytes a second');
    await page.keyboard.press('Control+A');
    await page.keyboard.type('128 KiB');
    await page.keyboard.press('Enter');
    await page.getByText('128 KiB/s').waitFor();
    await enter(page, `Cancel ${between}`);
    await page.locator('.view-head [data-status="cancelled"]').waitFor();
    await page.context().close();
  });
});

test('what a gateway does not know is not said', async () => {
  const { page, faults } = await openPage(lab, 'map');
  await page.getByText('Uploads and downloads are shown by the hosts').waitFor();
  await page.goto(`${lab.url}/#/new`);
  await page.getByRole('button', { name: 'Copy', exact: true }).waitFor();
  expect(await page.getByRole('button', { name: 'Replicate' }).count()).toBe(0);
  expect(faults).toEqual([]);
  await page.context().close();
});

test('its events come as often as the page asks for', async () => {
  const { page } = await openPage(lab, 'map');
  const asked = page.waitForRequest((request) => request.url().includes('/events'));
  await page.reload();
  expect(new URL((await asked).url()).searchParams.get('interval_ms')).toBe('150');
  await page.context().close();
});
