// SPDX-License-Identifier: Apache-2.0
import { expect, jest, test } from '@jest/globals';
import { FetchBuffers, type Loan } from '../../../services/daemon/replication/fetch-buffers.ts';

const MIB = 2 ** 20;
const SIZE = 16 * MIB;
/** How many buffers of that size the pool has. */
const POOLED = 8;
const { signal } = new AbortController();

/** Whether it was lent by now. */
async function isLent(loan: Promise<Loan>): Promise<boolean> {
  return Promise.race([loan.then(() => true), new Promise<false>((r) => setTimeout(r, 10, false))]);
}

test('a replication has its own buffer, however many the others hold', async () => {
  const buffers = new FetchBuffers();
  const greedy = buffers.share();
  const held = await Promise.all(
    Array.from({ length: 1 + POOLED }, () => greedy.borrow(SIZE, signal)),
  );
  const waiting = greedy.borrow(SIZE, signal);
  expect(await isLent(waiting)).toBe(false);
  const other = buffers.share();
  const own = await other.borrow(SIZE, signal);
  const further = other.borrow(SIZE, signal);
  expect(await isLent(further)).toBe(false);
  own.end();
  // Its reserved buffer goes to its own waiting fetch, past those of other replications.
  expect(await isLent(further)).toBe(true);
  expect(await isLent(waiting)).toBe(false);
  held[0]?.end();
  expect(await isLent(waiting)).toBe(true);
});

test('an aborted wait for a buffer ends, and does not delay those behind it', async () => {
  const buffers = new FetchBuffers();
  const share = buffers.share();
  const held = await Promise.all(Array.from({ length: POOLED }, () => share.borrow(SIZE, signal)));
  const stop = new AbortController();
  const large = share.borrow(2 * SIZE, stop.signal);
  const small = share.borrow(SIZE, signal);
  expect(await isLent(small)).toBe(false);
  stop.abort(new Error('enough'));
  await expect(large).rejects.toThrow('enough');
  expect(await isLent(small)).toBe(true);
  await expect(share.borrow(SIZE, stop.signal)).rejects.toThrow('enough');
  for (const loan of held) loan.end();
});

test('a buffer that was given back is lent again', async () => {
  const buffers = new FetchBuffers();
  const share = buffers.share();
  const other = await share.borrow(MIB, signal);
  const first = await share.borrow(MIB, signal);
  first.end();
  expect((await share.borrow(MIB, signal)).memory).toBe(first.memory);
  other.end();
});

test('what nobody borrows for a while is given up', async () => {
  jest.useFakeTimers();
  try {
    const share = new FetchBuffers().share();
    const first = await share.borrow(MIB, signal);
    first.end();
    jest.advanceTimersByTime(900);
    const again = await share.borrow(MIB, signal);
    expect(again.memory).toBe(first.memory);
    jest.advanceTimersByTime(2000);
    again.end();
    jest.advanceTimersByTime(1000);
    expect((await share.borrow(MIB, signal)).memory).not.toBe(first.memory);
  } finally {
    jest.useRealTimers();
  }
});
