// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import type { TransferList } from '../../../services/client/types.ts';
import { EXHAUSTIVE, report } from '../../support/depth.ts';
import { eventually, hang, type Lab, MIB, openPage, post, startLab } from './support.ts';

/** Transfers that go on, and that are over. */
const RUNNING = 1000;
const ENDED = EXHAUSTIVE ? 100_000 : 2000;
const MINUTES = EXHAUSTIVE ? 10 : 0.25;
const BATCH = 1000;
const SET_UP_MS = 600_000;
const PAGE = 4096;

let lab: Lab;
beforeAll(async () => {
  lab = await startLab();
  await batches(ENDED, (index) => ({ dst_offset: (index % 1000) * PAGE }));
  await eventually(async () => (await unfinished()) === 0, SET_UP_MS);
  await hang(lab.url, 'dax1.0', 128 * MIB, 64 * MIB);
  await batches(RUNNING, (index) => ({ dst_offset: 128 * MIB + index * PAGE }));
}, SET_UP_MS);
afterAll(() => lab.close());

async function unfinished(): Promise<number> {
  const answer = await fetch(`${lab.url}/transfers?status=queued,running&page_size=1`);
  return ((await answer.json()) as TransferList).transfers.length;
}

async function batches(count: number, place: (index: number) => object): Promise<void> {
  for (let done = 0; done < count; done += BATCH) {
    const transfers = Array.from({ length: BATCH }, (_, index) => ({
      ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, size: PAGE },
      ...{ durability: 'none', ...place(done + index) },
    }));
    // On a busy machine the daemon closes a connection that stands still before the next batch.
    await post(`${lab.url}/transfers/batch`, { transfers }, { connection: 'close' });
  }
}

/** Small copies, one after the other, until it is told to stop. */
function load(): () => Promise<void> {
  const stop = new AbortController();
  const body = JSON.stringify({
    device_name: 'dax0.0',
    src_offset: 0,
    dst_offset: PAGE,
    size: PAGE,
  });
  const headers = { 'content-type': 'application/json' };
  const working = (async () => {
    while (!stop.signal.aborted) {
      await (await fetch(`${lab.url}/transfers`, { method: 'POST', headers, body })).arrayBuffer();
    }
  })();
  return () => {
    stop.abort();
    return working;
  };
}

/** How long the page takes from a key to the next frame, in milliseconds: the median of some. */
async function keyDelay(page: Page): Promise<number> {
  const delays = await page.evaluate<number[]>(`(async () => {
    const delays = [];
    const field = document.querySelector('.label-filter');
    for (let count = 0; count < 15; count++) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      const began = performance.now();
      field.dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }));
      await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
      delays.push(performance.now() - began);
    }
    return delays.sort((a, b) => a - b);
  })()`);
  return delays[Math.floor(delays.length / 2)] as number;
}

async function heapBytes(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  await session.send('HeapProfiler.collectGarbage');
  const { usedSize } = await session.send('Runtime.getHeapUsage');
  await session.detach();
  return usedSize;
}

test(
  'a page with 1,000 transfers under way answers a key at once, keeps few rows, and its memory is flat',
  async () => {
    const { page, faults } = await openPage(lab, 'transfers');
    await page.getByText(`${RUNNING} in progress`).waitFor();
    const stop = load();
    const rows = page.locator('.rows [role="row"]');
    expect(await rows.count()).toBeLessThan(60);
    const delay = await keyDelay(page);
    expect(delay).toBeLessThan(100);

    // Down to where the history is, page by page.
    await page.evaluate(`document.querySelector('.rows').scrollTop = ${RUNNING * 44}`);
    await page.locator('.state[data-status="succeeded"]').first().waitFor();
    await page.evaluate(`document.querySelector('.rows').scrollTop = 1e7`);
    await page.waitForTimeout(1000);
    expect(await rows.count()).toBeLessThan(60);
    await page.evaluate(`document.querySelector('.rows').scrollTop = 0`);

    const before = await heapBytes(page);
    await page.waitForTimeout(MINUTES * 60_000);
    const after = await heapBytes(page);
    report(
      `a key takes ${delay.toFixed(0)} ms; the page's heap: ${before / MIB} MiB, then ${after / MIB}`,
    );
    expect(after).toBeLessThan(before * 1.2 + 4 * MIB);

    await page.goto(`${lab.url}/#/map`);
    await page.locator('.uses tbody tr').first().waitFor();
    await stop();
    expect(faults).toEqual([]);
    await page.context().close();
  },
  MINUTES * 60_000 + 300_000,
);
