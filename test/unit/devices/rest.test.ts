// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { rest } from '../../../services/daemon/devices/rest.ts';

test.each([2 ** 31, 2 ** 40, 1e15])('a rest of %i ms is one, until it is ended', async (ms) => {
  const end = new AbortController();
  const resting = rest(ms, end.signal).then(() => 'over');
  // A timer that takes it for 1 ms would be over by then.
  expect(await Promise.race([resting, sleep(30, 'resting')])).toBe('resting');
  end.abort();
  expect(await resting).toBe('over');
});

test('a short one is over by itself, and none where it has been ended', async () => {
  await rest(5, new AbortController().signal);
  await rest(0, new AbortController().signal);
  await rest(1e15, AbortSignal.abort());
});
