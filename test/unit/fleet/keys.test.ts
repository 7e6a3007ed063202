// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { TransferIds } from '../../../services/base/transfer-ids.ts';
import { Keys } from '../../../services/fleet/etcd/keys.ts';

const keys = new Keys('dmad/');

test('keys of transfers sort newest first, and say which transfer', () => {
  const ids = new TransferIds();
  const made = Array.from({ length: 1000 }, () => ids.next());
  expect(made.map((id) => keys.transfer(id)).sort()).toEqual(
    made.toReversed().map((id) => keys.transfer(id)),
  );
  for (const id of made.slice(0, 10)) {
    expect(keys.parse(keys.transfer(id))).toEqual({ kind: 'transfers', name: id });
    expect(keys.parse(keys.ended(id))).toEqual({ kind: 'ended', name: id });
  }
});

test('what is watched is all but Idempotency-Keys', () => {
  const { from, to } = keys.watched;
  const id = new TransferIds().next();
  const watched = [
    ...[keys.cancel(id), keys.ended(id), keys.gateway('x'), keys.host('x')],
    ...[keys.owner('x'), keys.seen('x'), keys.transfer(id)],
  ];
  for (const key of watched) expect([key >= from, key < to]).toEqual([true, true]);
  const used = keys.used('client', 'key');
  expect(used >= from && used < to).toBe(false);
});

test('clients have keys of their own', () => {
  expect(keys.used('a', 'bc')).not.toBe(keys.used('ab', 'c'));
});

test('what other prefixes have is none of its business', () => {
  expect(new Keys('other/').parse(keys.host('x'))).toBeUndefined();
});
