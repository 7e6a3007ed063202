// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { Daemon } from '../../support/daemon.ts';
import { writePeers } from '../../support/peers.ts';
import { startFleetLab } from './fleet-lab.ts';
import {
  ASYNC,
  eventually,
  type Lab,
  MIB,
  makeDirectory,
  openPage,
  post,
  startLab,
} from './support.ts';

/** Where to put pictures of the views, for services/dashboard/README.md; unset: they are thrown away. */
const { DMAD_PICTURES: folder } = process.env;

const VIEWS = [
  ...['map', 'transfers', 'transfer', 'replications', 'replication', 'engines', 'new'],
  ...['segments', 'replicate', 'health'],
];
const SIZES = [
  // As on a telephone, whose scroll bars take no room.
  { viewport: { width: 360, height: 780 }, isMobile: true, hasTouch: true },
  { viewport: { width: 1280, height: 800 } },
  { viewport: { width: 2560, height: 1440 } },
];

/** On a busy machine digests take their time. */
const SOON_MS = 60_000;

/**
 * Lets the daemon run for a fiftieth of the time, so that what it copies can be seen to move.
 *
 * @returns what lets it run again
 */
function slowMotion({ daemon }: Lab): () => void {
  let running = true;
  const timer = setInterval(() => {
    running = !running;
    daemon.child.kill(running ? 'SIGCONT' : 'SIGSTOP');
    if (running) setTimeout(() => daemon.child.kill('SIGSTOP'), 2);
  }, 50);
  return () => {
    clearInterval(timer);
    daemon.child.kill('SIGCONT');
  };
}

/** Copies that touch several parts of the devices, some of which wait for others. */
async function fillWithWork({ url }: Lab): Promise<string> {
  const transfer = (body: object) => post(`${url}/transfers`, body, ASYNC);
  const labels = { job: 'nightly' };
  const between = { device_name: 'dax0.0', dst_device_name: 'dax1.0' };
  const { id } = await transfer({
    ...{ ...between, labels, verify: 'crc32c' },
    ...{ src_offset: 128 * MIB, dst_offset: 64 * MIB, size: 1280 * MIB },
  });
  const segments = Array.from({ length: 16 }, (_, index) => ({
    ...{ src_offset: (1500 + 56 * index) * MIB, dst_offset: (2600 + 88 * index) * MIB },
    size: 32 * MIB,
  }));
  await transfer({ device_name: 'dax0.0', segments });
  await transfer({
    ...{ device_name: 'dax1.0', dst_device_name: 'dax2.0', priority: 'high' },
    ...{ src_offset: 2048 * MIB, dst_offset: 300 * 1024 * MIB, size: 700 * MIB },
  });
  await transfer({
    ...{ device_name: 'dax1.0', dst_device_name: 'dax0.0' },
    ...{ src_offset: 900 * MIB, dst_offset: 2440 * MIB, size: 128 * MIB },
  });
  await transfer({
    ...{ operation: 'compare', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
    ...{ src_offset: 128 * MIB, dst_offset: 1200 * MIB, size: 256 * MIB },
  });
  return id;
}

/** A replication that takes its time, and somebody's download. @returns the replication's id */
async function fillWithStreams({ url }: Lab): Promise<string> {
  const range = `bytes=${3600 * MIB}-${3900 * MIB}`;
  // Nobody reads what comes.
  await fetch(`${url}/devices/dax0.0/content`, { headers: { range } });
  const { id } = await post(
    `${url}/replications`,
    {
      ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: 0, size: 512 * MIB },
      ...{ dst_device_name: 'dax1.0', dst_offset: 3200 * MIB, bytes_per_second: '16MiB' },
      labels: { job: 'nightly' },
    },
    ASYNC,
  );
  return id;
}

async function fillHistory({ url }: Lab): Promise<void> {
  const between = { device_name: 'dax0.0', dst_device_name: 'dax1.0' };
  for (let index = 0; index < 4; index++) {
    const at = { src_offset: index * 8 * MIB, dst_offset: 3000 * MIB, size: (1 + index) * 8 * MIB };
    await post(`${url}/transfers`, { ...between, ...at, labels: { job: 'nightly' } });
  }
  await post(`${url}/transfers`, {
    ...{ operation: 'fill', device_name: 'dax1.0', dst_offset: 0, size: 16 * MIB },
  });
  await post(`${url}/transfers`, {
    ...{ ...between, operation: 'compare', src_offset: 0, dst_offset: 0, size: 8 * MIB },
  });
}

test.each(['light', 'dark'] as const)('each view has its picture: %s', async (colorScheme) => {
  const directory = makeDirectory();
  const source = new Daemon({ DMAD_DEVICES: 'emulated:dax0.0=1GiB' }, { lifetimeMs: 600_000 });
  const peer = await source.ready();
  await post(`${peer}/transfers`, {
    ...{ operation: 'fill', device_name: 'dax0.0', dst_offset: 0, size: 512 * MIB, pattern: '7e' },
  });
  const lab = await startLab({
    DMAD_FAULTS: '0',
    DMAD_PEERS_FILE: writePeers(directory.path, [{ name: 'hostb', url: peer }]),
    DMAD_DEVICES: 'emulated:dax0.0=4GiB,emulated:dax1.0=4GiB,emulated:dax2.0=1024GiB',
  });
  await fillHistory(lab);
  const pages = await Promise.all(
    SIZES.map((size) => openPage(lab, 'map', { ...size, colorScheme })),
  );
  const replication = await fillWithStreams(lab);
  await eventually(async () => {
    const answer = await fetch(`${lab.url}/replications/${replication}`);
    return ((await answer.json()) as { progress: number }).progress > 0;
  }, SOON_MS);
  const goOn = slowMotion(lab);
  const addresses: Record<string, string> = {
    ...{
      transfer: `transfers/${await fillWithWork(lab)}`,
      replication: `replications/${replication}`,
    },
    ...{ segments: 'new', replicate: 'new?operation=replicate' },
  };
  for (const view of VIEWS) {
    const hash = addresses[view] ?? view;
    // Its figures are asked for, and none of them moves.
    if (view === 'health') goOn();
    for (const { page } of pages) {
      await page.goto(`${lab.url}/#/${hash}`);
      if (view === 'new') await page.locator('#size').fill('32 MiB');
      if (view === 'segments') {
        await page.locator('#ranges').selectOption('several segments');
        await page.locator('#segments').fill('0, 64 MiB, 4 KiB\n8 KiB, 65 MiB, 4 KiB');
      }
    }
    await pages[0]?.page.waitForTimeout(1500);
    for (const [index, { page }] of pages.entries()) {
      const name = `${view}-${SIZES[index]?.viewport.width}-${colorScheme}.png`;
      // The view's own focus ring is for those who use the keyboard.
      await page.evaluate('document.activeElement.blur()');
      const picture = await page.screenshot(folder ? { path: join(folder, name) } : {});
      expect(picture.length).toBeGreaterThan(1000);
    }
  }
  expect(pages.flatMap(({ faults }) => faults)).toEqual([]);
  await lab.close();
  await source.stop('SIGKILL');
  directory.remove();
});

test('the hosts of a fleet have their picture', async () => {
  const lab = await startFleetLab();
  await post(`${lab.url}/transfers`, {
    ...{ host: 'hosta', device_name: 'dax0.0', dst_host: 'hostb', dst_device_name: 'dax1.0' },
    ...{ src_offset: 0, dst_offset: 0, size: 8 * MIB },
  });
  const pages = await Promise.all(
    (['light', 'dark'] as const).flatMap((colorScheme) =>
      SIZES.map(async (size) => {
        const { page, faults } = await openPage(lab, 'hosts', { ...size, colorScheme });
        return { page, faults, name: `hosts-${size.viewport.width}-${colorScheme}.png` };
      }),
    ),
  );
  await lab.hostb.stop('SIGKILL');
  for (const { page, name } of pages) {
    await page.locator('[data-host="hostb"] [data-state="unreachable"]').waitFor();
    await page.evaluate('document.activeElement.blur()');
    const picture = await page.screenshot(folder ? { path: join(folder, name) } : {});
    expect(picture.length).toBeGreaterThan(1000);
  }
  expect(pages.flatMap(({ faults }) => faults)).toEqual([]);
  await lab.close();
});
