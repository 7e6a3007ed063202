// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { TransferIds } from '../../services/base/transfer-ids.ts';

const timeOf = (id: string) => Number.parseInt(id.replace('-', '').slice(0, 12), 16);

test('the ids of a daemon that nothing was left for have the time in them', () => {
  const ids = new TransferIds();
  ids.passOver('');
  const before = Date.now();
  const time = timeOf(ids.next());
  expect(time).toBeGreaterThanOrEqual(before);
  expect(time).toBeLessThanOrEqual(Date.now());
});

test('they sort after those of an earlier daemon, whose clock was ahead', () => {
  const [earlier, ids] = [new TransferIds(), new TransferIds()];
  const last = earlier.next().replace(/^0/, '1');
  ids.passOver(last);
  const made = Array.from({ length: 1000 }, () => ids.next());
  expect([last, ...made]).toEqual([last, ...made].sort());
});
