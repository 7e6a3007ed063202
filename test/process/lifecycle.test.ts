// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';
import { runs } from '../support/depth.ts';

const PROGRAM = fileURLToPath(new URL('../support/starts-and-stops.js', import.meta.url));
const STARTS = runs(50, 15);
/** Heap that a start and stop may leave behind, on average; what V8 itself varies by. In bytes. */
const LEFT_BEHIND = 512 * 1024;

test('starts and stops in one process leave nothing behind', () => {
  const args = ['--expose-gc', PROGRAM, String(STARTS)];
  const options = { encoding: 'utf8', timeout: 280_000 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, args, options);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const { before, after } = JSON.parse(stdout);
  expect(after.open).toEqual(before.open);
  expect((after.heapUsed - before.heapUsed) / STARTS).toBeLessThan(LEFT_BEHIND);
}, 300_000);
