// SPDX-License-Identifier: Apache-2.0
import { expect, jest, test } from '@jest/globals';
import type { FastifyBaseLogger } from 'fastify';
import { Lifecycle } from '../../../services/base/lifecycle.ts';

function lifecycleWithLog() {
  const error = jest.fn();
  return { lifecycle: new Lifecycle({ error } as unknown as FastifyBaseLogger), error };
}

test('closes in reverse order, each once the one before is closed', async () => {
  const { lifecycle, error } = lifecycleWithLog();
  const closed: string[] = [];
  lifecycle.opened('a', () => void closed.push('a'));
  lifecycle.opened('b', async () => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    closed.push('b');
  });
  lifecycle.opened('c', () => void closed.push('c'));
  await Promise.all([lifecycle.close(), lifecycle.close()]);
  expect(closed).toEqual(['c', 'b', 'a']);
  expect(error).not.toHaveBeenCalled();
});

test('a failure is logged, stops nothing, and is thrown at the end', async () => {
  const { lifecycle, error } = lifecycleWithLog();
  const closed: string[] = [];
  const [first, second] = [new Error('first'), new Error('second')];
  lifecycle.opened('a', () => void closed.push('a'));
  lifecycle.opened('b', () => Promise.reject(second));
  lifecycle.opened('c', () => {
    throw first;
  });
  await expect(lifecycle.close()).rejects.toBe(first);
  expect(closed).toEqual(['a']);
  expect(error.mock.calls).toEqual([
    [{ err: first }, 'could not close c'],
    [{ err: second }, 'could not close b'],
  ]);
});

test('what is opened once closing has begun is an error', async () => {
  const { lifecycle } = lifecycleWithLog();
  const closing = lifecycle.close();
  expect(() => lifecycle.opened('late', () => {})).toThrow('late was opened too late');
  await closing;
});
