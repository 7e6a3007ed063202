// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import {
  clearFaults,
  eventually,
  hang,
  type Lab,
  MIB,
  openPage,
  post,
  startCopy,
  startLab,
  startLongCopy,
  transferOf,
  type Watched,
  whenShown,
} from './support.ts';

let lab: Lab;
let watched: Watched;
beforeAll(async () => {
  lab = await startLab();
});
afterAll(() => lab.close());
afterEach(async () => {
  await clearFaults(lab.url);
  expect(watched.faults).toEqual([]);
  await watched.page.context().close();
});

async function open(hash: string): Promise<Page> {
  watched = await openPage(lab, hash);
  return watched.page;
}

async function fill(page: Page, fields: Record<string, string>) {
  for (const [name, value] of Object.entries(fields)) await page.locator(`#${name}`).fill(value);
}

describe('a copy from the form', () => {
  test('is planned as one types, and starts', async () => {
    const page = await open('new');
    await fill(page, { size: '64 MiB', src_offset: '1MiB', dst_offset: '2MiB' });
    await page.getByRole('region', { name: 'Plan' }).getByText('64 MiB').first().waitFor();
    await page.getByRole('button', { name: 'Start the copy' }).click();
    await page.getByRole('link', { name: /^Accepted/ }).click();
    await page.getByRole('heading', { name: /64 MiB from dax0.0 at 1 MiB/ }).waitFor();
    await page.locator('.view-head .state[data-status="succeeded"]').waitFor();
  });

  test.each([
    ['list', 'transfers?show=running', '.rows [data-status="running"]'],
    ['map', 'map', '.uses [data-use="write"]'],
  ])('appears in the %s within 200 ms of its start', async (_name, hash, selector) => {
    await hang(lab.url, 'dax1.0', 0, 64 * MIB);
    const page = await open(hash);
    const delays: number[] = [];
    // On a machine that does other things too the best of some counts.
    while (delays.length < 5 && !delays.some((ms) => ms < 200)) {
      const shown = whenShown(page, selector);
      const { id } = await startCopy(lab.url, 0, 32 * MIB);
      const at = await shown;
      delays.push(at - Date.parse((await transferOf(lab.url, id)).started_at ?? ''));
      await post(`${lab.url}/transfers/${id}/cancel`, {});
      await page.locator(selector).first().waitFor({ state: 'hidden' });
    }
    expect(Math.min(...delays)).toBeLessThan(200);
  });

  test('moves, and ends', async () => {
    const page = await open('transfers?show=running');
    const { id } = await startLongCopy(lab.url);
    const row = page.locator('.row', { has: page.locator(`a[href="#/transfers/${id}"]`) });
    const bar = row.locator('.bar');
    const percent = async () => Number(await bar.getAttribute('aria-valuenow'));
    const before = await percent();
    await eventually(async () => (await percent()) > before);
    await post(`${lab.url}/transfers/${id}/cancel`, {});
    await row.waitFor({ state: 'hidden' });
    await page.goto(`${lab.url}/#/map`);
    await page.getByText('No bytes are in use.').waitFor();
  });

  test('has a page whose time line adds up', async () => {
    const { id } = await post(`${lab.url}/transfers`, {
      ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 0 },
      ...{ size: '32MiB', verify: 'crc32c' },
    });
    const page = await open(`transfers/${id}`);
    const rows = page.locator('[data-phase]');
    await rows.first().waitFor();
    const parts = await rows.evaluateAll((all) =>
      all.map((row) => [row.getAttribute('data-phase'), Number(row.getAttribute('data-ns'))]),
    );
    const ns = new Map(parts as [string, number][]);
    const total = ns.get('total');
    ns.delete('total');
    expect([...ns.keys()]).toEqual(expect.arrayContaining(['queue', 'copy', 'flush', 'verify']));
    expect([...ns.values()].reduce((sum, each) => sum + each, 0)).toBe(total);
  });

  test('shows what is wrong at its field', async () => {
    const page = await open('new');
    await fill(page, { size: '512 MiB' });
    const size = page.locator('#size-message, #src_offset-message, #dst_offset-message');
    await eventually(async () => /268435456 bytes/.test((await size.allInnerTexts()).join()));
    expect(await page.locator('[aria-invalid="true"]').count()).toBeGreaterThan(0);
    await fill(page, { size: 'many' });
    await eventually(async () => /must be/.test(await page.locator('#size-message').innerText()));
    await fill(page, { size: '4 KiB' });
    await eventually(async () => (await page.locator('[aria-invalid="true"]').count()) === 0);
  });

  test('fills and compares as well', async () => {
    const page = await open('new?operation=fill');
    await fill(page, { size: '1MiB', dst_offset: '200MiB', pattern: 'a5' });
    await page.getByRole('button', { name: 'Start the fill' }).click();
    await page.getByRole('link', { name: /^Accepted/ }).click();
    await page.locator('.view-head .state[data-status="succeeded"]').waitFor();
    await page.goto(`${lab.url}/#/new?operation=compare`);
    await fill(page, { size: '1MiB', src_offset: '1MiB', dst_offset: '200MiB' });
    await page.getByRole('button', { name: 'Start the comparison' }).click();
    await page.getByRole('link', { name: /^Accepted/ }).click();
    await page.getByText(/^The ranges differ/).waitFor();
  });
});

test('segments are planned line by line, with what is wrong at them, and copied', async () => {
  const page = await open('new');
  await page.locator('#ranges').selectOption('several segments');
  await page.locator('#segments').fill('0, 1 MiB, 4 KiB\n8 KiB 2 MiB');
  await page.getByText('line 2: write from, to, size').waitFor();
  await page.locator('#segments').fill('0, 1 MiB, 4 KiB\n1 GiB, 2 MiB, 4 KiB');
  await page.getByText(/^segment 2, src offset/).waitFor();
  await page.locator('#segments').fill('0, 1 MiB, 4 KiB\n8 KiB, 2 MiB, 4 KiB');
  await page.getByRole('region', { name: 'Plan' }).getByText('2 segments').waitFor();
  await page.getByRole('button', { name: 'Start the copy' }).click();
  await page.getByRole('link', { name: /^Accepted/ }).click();
  await page.getByRole('heading', { name: /8 KiB in 2 pieces/ }).waitFor();
});

test("another's upload and download are on the map, with how far they are", async () => {
  const page = await open('map');
  const stream = new TransformStream();
  const writer = stream.writable.getWriter();
  const uploading = fetch(`${lab.url}/devices/dax1.0/content?offset=4096`, {
    ...{ method: 'PUT', body: stream.readable, duplex: 'half' },
    headers: { 'content-type': 'application/octet-stream' },
  } as RequestInit);
  await writer.write(Buffer.alloc(MIB));
  await page.getByText(/^Upload: [^0].* of 256 MiB/).waitFor();
  await page.locator('.uses [data-use="write"]').waitFor();
  const downloading = await fetch(`${lab.url}/devices/dax0.0/content`);
  await page.getByText(/^Download: .* of 256 MiB/).waitFor();
  await downloading.body?.cancel();
  await writer.close();
  expect((await uploading).status).toBe(200);
  await page.getByText('No bytes are in use.').waitFor();
});

test('cancel stops a transfer, and priority changes one that waits', async () => {
  await hang(lab.url, 'dax1.0', 0, 64 * MIB);
  const first = await startCopy(lab.url, 0, 64 * MIB);
  const second = await startCopy(lab.url, 0, 64 * MIB);
  const page = await open('transfers');
  await page.getByLabel(`Priority of ${second.id}`).selectOption('low');
  await eventually(async () => (await transferOf(lab.url, second.id)).priority === 'low');
  for (const { id } of [second, first]) {
    await page.getByRole('button', { name: `Cancel ${id}` }).click();
    await eventually(async () => (await transferOf(lab.url, id)).status === 'cancelled');
  }
  await eventually(
    async () => (await page.locator('.state[data-status="cancelled"]').count()) >= 2,
  );
});

test('a file that is dropped is uploaded, and a download gives equal bytes', async () => {
  const bytes = randomBytes(3 * MIB + 123);
  const page = await open('new?operation=upload');
  await fill(page, { dst_offset: '8 MiB' });
  const content = JSON.stringify(bytes.toString('base64'));
  const data = await page.evaluateHandle(`(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(atob(${content}), (c) => c.charCodeAt(0))], 'a.bin'));
    return transfer;
  })()`);
  await page.dispatchEvent('.drop', 'drop', { dataTransfer: data });
  await page.getByRole('button', { name: 'Upload the file' }).click();
  await page.getByText(/the same as the file/).waitFor();

  await page.goto(`${lab.url}/#/new?operation=download`);
  await page.locator('#device_name').selectOption('dax1.0');
  await fill(page, { src_offset: '8 MiB', size: String(bytes.length) });
  const downloading = page.waitForEvent('download');
  await page.getByRole('button', { name: 'Download the bytes' }).click();
  const path = await (await downloading).path();
  expect(Buffer.compare(readFileSync(path), bytes)).toBe(0);
});

test('a problem of an upload and of a download stands at its field', async () => {
  const page = await open('new?operation=upload');
  await fill(page, { dst_offset: '256 MiB' });
  await page
    .locator('#file')
    .setInputFiles({ name: 'a', mimeType: '', buffer: Buffer.alloc(4096) });
  await page.getByRole('button', { name: 'Upload the file' }).click();
  await page.locator('.plan .wrong').waitFor();
  await page.goto(`${lab.url}/#/new?operation=download`);
  await fill(page, { src_offset: '1GiB', size: '4096' });
  await page.getByRole('button', { name: 'Download the bytes' }).click();
  await page.locator('.plan .wrong').waitFor();
});

test('Pause lets the page stand still, and what came meanwhile is shown then', async () => {
  const page = await open('transfers?show=succeeded');
  await page.locator('.rows .row').first().waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  const id = (await startCopy(lab.url, 0, 4096)).id;
  const row = page.locator(`a[href="#/transfers/${id}"]`);
  await page.waitForTimeout(500);
  expect(await row.count()).toBe(0);
  await page.getByRole('button', { name: 'Pause' }).click();
  await row.waitFor();
});
