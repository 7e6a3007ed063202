// SPDX-License-Identifier: Apache-2.0
import { expect, test } from '@jest/globals';
import { StreamSlots } from '../../../services/http/stream-slots.ts';

test('StreamSlots has 256 slots, and gets each back however its work ends', async () => {
  const slots = new StreamSlots('downloads');
  for (let round = 0; round < 2; round++) {
    const ends: ((fail: boolean) => void)[] = [];
    const running = Array.from({ length: 256 }, (_, i) =>
      slots.use(
        'anna',
        () =>
          new Promise<number>((resolve, reject) => {
            ends.push((fail) => (fail ? reject(new Error('broken')) : resolve(i)));
          }),
      ),
    );
    await expect(slots.use('anna', async () => 'one too many')).rejects.toMatchObject({
      code: 'queue_full',
      options: { headers: { 'retry-after': '1' } },
    });
    for (const [i, end] of ends.entries()) end(i % 2 === 0);
    const results = await Promise.allSettled(running);
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(128);
  }
  expect(await slots.use('anna', async () => 'free again')).toBe('free again');
});
