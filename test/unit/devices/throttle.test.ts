// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { throttle } from '../../../services/daemon/devices/throttle.ts';

test.each([2 ** 31, 2 ** 40, 1e15])('a wait of %i ms is one, until it is ended', async (ms) => {
  const end = new AbortController();
  const waiting = throttle(() => ms, 1, end.signal).then(() => 'over');
  // A timer that takes it for 1 ms would be over by then.
  expect(await Promise.race([waiting, sleep(30, 'waiting')])).toBe('waiting');
  end.abort();
  expect(await waiting).toBe('over');
});

test('counts the bytes once, and waits as long as is owed at the rate that holds by then', async () => {
  const asked: number[] = [];
  let owed = 1e12;
  const began = performance.now();
  const pace = (bytes: number) => {
    asked.push(bytes);
    return owed;
  };
  const waiting = throttle(pace, 77, new AbortController().signal);
  owed = 0;
  await waiting;
  expect(asked).toEqual([77, 0]);
  expect(performance.now() - began).toBeLessThan(5000);
});

test('does not wait if nothing is owed, or the wait was ended before', async () => {
  await throttle(() => 0, 1, new AbortController().signal);
  await throttle(() => 1e15, 1, AbortSignal.abort());
});
