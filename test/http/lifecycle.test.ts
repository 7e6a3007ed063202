// SPDX-License-Identifier: Apache-2.0
import { readdirSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from '@jest/globals';
import { startTestApp } from '../support/app.ts';
import { runs } from '../support/depth.ts';

const STARTS = runs(50, 15);
/** The first ones load what is loaded once. */
const WARM_UP = 5;
/** Heap that a start and stop may leave behind, on average; what V8 itself varies by. In bytes. */
const LEFT_BEHIND = 512 * 1024;

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

async function startAndStop(): Promise<void> {
  const app = await startTestApp();
  await app.listen();
  const copy = { device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 0 };
  expect((await app.post({ ...copy, size: 4096 })).statusCode).toBe(201);
  expect((await app.ask({ url: '/metrics' })).status).toBe(200);
  await app.close();
}

/** What the process has open. */
async function held() {
  // What is closed may go with the next turns of the event loop.
  await new Promise((resolve) => setTimeout(resolve, 100));
  collectGarbage();
  return {
    handles: process
      .getActiveResourcesInfo()
      .filter((kind) => kind !== 'Immediate')
      .sort(),
    listeners: process.eventNames().map((name) => [name, process.listenerCount(name)]),
    descriptors: readdirSync('/proc/self/fd').length,
    threads: readdirSync('/proc/self/task').length,
  };
}

test('starts and stops in one process leave nothing behind', async () => {
  for (let n = 0; n < WARM_UP; n++) await startAndStop();
  const before = await held();
  const { heapUsed } = process.memoryUsage();
  for (let n = 0; n < STARTS; n++) await startAndStop();
  expect(await held()).toEqual(before);
  expect((process.memoryUsage().heapUsed - heapUsed) / STARTS).toBeLessThan(LEFT_BEHIND);
}, 300_000);
