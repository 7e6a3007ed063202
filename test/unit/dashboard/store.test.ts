// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { EXAMPLES } from '../../../services/daemon/openapi/examples.ts';
import type { Transfer } from '../../../services/dashboard/model/transfer.ts';
import { WorkStore } from '../../../services/dashboard/state/store.ts';

const done = EXAMPLES.createTransfer?.verified?.response as Transfer;
const transfer = (id: string, status: Transfer['status'], bytes = 0): Transfer => ({
  ...{ ...done, id, status, bytes_completed: bytes },
});

test('those that run come before those that wait, and those that end leave', () => {
  const store = new WorkStore<Transfer>();
  store.apply([transfer('c', 'queued'), transfer('b', 'running'), transfer('a', 'queued')], 0);
  expect(store.active.value).toEqual(['b', 'a', 'c']);
  store.apply([transfer('b', 'succeeded')], 1);
  expect([store.active.value, store.ended.value]).toEqual([['a', 'c'], ['b']]);
});

test('progress updates the transfer each time, and its list never', () => {
  const store = new WorkStore<Transfer>();
  store.apply([transfer('a', 'running')], 0);
  let lists = 0;
  let changes = 0;
  store.active.subscribe(() => lists++);
  store.get('a')?.subscribe(() => changes++);
  for (let bytes = 1; bytes <= 10; bytes++) store.apply([transfer('a', 'running', bytes)], bytes);
  expect([lists, changes]).toEqual([1, 11]);
});

test('the bytes of each engine are counted once', () => {
  const bytes: number[] = [];
  const store = new WorkStore<Transfer>({ onBytes: (_transfer, count) => bytes.push(count) });
  store.apply([transfer('a', 'running', 5)], 0);
  store.apply([transfer('a', 'running', 8)], 1);
  store.apply([transfer('a', 'succeeded', 8), transfer('b', 'succeeded', 4)], 2);
  expect(bytes.filter((count) => count > 0)).toEqual([3, 4]);
});

test('what somebody asked for does not go back behind what is known', () => {
  const store = new WorkStore<Transfer>();
  store.apply([transfer('a', 'running', 8)], 0);
  store.applyAnswer(transfer('a', 'running', 5), 1);
  expect(store.get('a')?.value.bytes_completed).toBe(8);
  store.applyAnswer(transfer('a', 'cancelled', 9), 2);
  store.applyAnswer(transfer('a', 'running', 9), 3);
  expect(store.get('a')?.value.status).toBe('cancelled');
});

test('a transfer that a snapshot does not name is to be asked for', () => {
  const store = new WorkStore<Transfer>();
  store.apply([transfer('a', 'running'), transfer('b', 'running')], 0);
  store.beginSnapshot();
  store.apply([transfer('b', 'queued')], 1);
  expect(store.unconfirmed()).toEqual(['a']);
  store.remove('a');
  expect(store.active.value).toEqual(['b']);
});

test('a change is completed with what came before', () => {
  const store = new WorkStore<Transfer>({
    completed: (change, { segments }) => ({ ...change, segments: change.segments ?? segments }),
  });
  const segments = [{ src_offset: 0, dst_offset: 1, size: 1 }];
  store.apply([{ ...transfer('a', 'running'), segments }], 0);
  store.apply([transfer('a', 'running', 1)], 1);
  expect(store.get('a')?.value.segments).toEqual(segments);
});

test('what a fleet has accepted waits', () => {
  const store = new WorkStore<Transfer>();
  store.apply([transfer('a', 'accepted'), transfer('b', 'running')], 0);
  expect([store.active.value, store.ended.value]).toEqual([['b', 'a'], []]);
});

test('of those that have ended the latest are kept', () => {
  const store = new WorkStore<Transfer>();
  const id = (index: number) => String(index).padStart(6, '0');
  for (let index = 0; index < 1200; index++) store.apply([transfer(id(index), 'succeeded')], index);
  expect(store.ended.value.length).toBe(500);
  expect(store.ended.value[0]).toBe(id(1199));
  expect(store.get(id(0))).toBeUndefined();
});
