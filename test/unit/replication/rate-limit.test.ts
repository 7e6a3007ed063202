// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { RateLimit } from '../../../services/daemon/replication/rate-limit.ts';
import { runs } from '../../support/depth.ts';

/** What the purse may have saved up, in milliseconds; see order/budget.ts. */
const BURST_MS = 50;

describe('RateLimit', () => {
  test('at no time has more been let through than the rate allows, however it is asked', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 2, maxLength: 12 }),
        fc.integer({ min: 200_000, max: 1_000_000 }),
        async (pieces, rate) => {
          const limit = new RateLimit(rate);
          const { signal } = new AbortController();
          const began = performance.now();
          let paid = 0;
          // All at once, as connections do.
          await Promise.all(
            pieces.map(async (bytes) => {
              await limit.pay(bytes, signal);
              paid += bytes;
              const ms = performance.now() - began;
              expect(paid).toBeLessThanOrEqual((rate * (ms + BURST_MS)) / 1000 + 1);
            }),
          );
        },
      ),
      { numRuns: runs(60, 8) },
    );
  });

  test('without a rate nothing waits', async () => {
    const limit = new RateLimit(null);
    const began = performance.now();
    for (let i = 0; i < 100; i++) await limit.pay(2 ** 30, new AbortController().signal);
    expect(performance.now() - began).toBeLessThan(1000);
  });

  test('a new rate acts on what waits already, and so does none', async () => {
    const { signal } = new AbortController();
    for (const then of [100_000_000, null]) {
      const limit = new RateLimit(1000);
      const waits = [limit.pay(100_000, signal), limit.pay(100_000, signal)];
      limit.bytesPerSecond = then;
      const began = performance.now();
      await Promise.all(waits);
      expect(performance.now() - began).toBeLessThan(5000);
    }
  });

  test('who gives up does not keep the next one waiting', async () => {
    const limit = new RateLimit(1000);
    const stop = new AbortController();
    const first = limit.pay(50_000, stop.signal);
    stop.abort(new Error('enough'));
    await expect(first).rejects.toThrow('enough');
    limit.bytesPerSecond = null;
    await limit.pay(1, new AbortController().signal);
  });
});
