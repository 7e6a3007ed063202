// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import type { Writing } from '../../../services/daemon/devices/written.ts';
import { retryLater } from '../../../services/http/problems/problem.ts';
import { ServiceBench, turn } from './make-service.ts';
import { viewer } from './make-transfer.ts';

/** A bench whose copies wait, each once, until the test decides. */
function hold() {
  const asked: Writing[] = [];
  let decide = { may: () => {}, mustNot: (_error: Error) => {} };
  const bench = new ServiceBench({
    beforeWrite: (writing) => {
      asked.push(writing);
      if (asked.length > 1) return undefined;
      return new Promise((may, mustNot) => {
        decide = { may, mustNot };
      });
    },
  });
  bench.service.earlier.settle(undefined);
  return { bench, asked, decide: () => decide };
}

describe.each([false, true])('before a copy writes (kept: %s)', (kept) => {
  test('it waits for what has to be known then', async () => {
    const { bench, asked, decide } = hold();
    const transfer = await bench.create(kept);
    const [segment] = transfer.plan.segments;
    expect(asked.map(({ device, copy, ranges }) => ({ device, copy, ranges }))).toEqual([
      {
        device: transfer.plan.destination,
        copy: { id: transfer.id, source: transfer.plan.source },
        ranges: [
          {
            sourceOffset: segment?.src_offset,
            ...{ offset: segment?.dst_offset, size: segment?.size },
          },
        ],
      },
    ]);
    expect([transfer.status, bench.jobs.length]).toEqual(['queued', 0]);
    decide().may();
    await turn();
    expect([transfer.status, bench.jobs.length]).toEqual(['running', 1]);
  });

  test('it does not run if that cannot be made known', async () => {
    const { bench, decide } = hold();
    const transfer = await bench.create(kept);
    const behind = await bench.create(false);
    decide().mustNot(retryLater('journal_unavailable', 'the disk is gone'));
    await bench.service.waitForEnd(transfer);
    expect(transfer).toMatchObject({
      ...{ status: 'failed', bytesCompleted: 0 },
      error: { code: 'journal_unavailable' },
    });
    // What comes behind it goes on.
    expect([behind.status, bench.jobs.length]).toEqual(['running', 1]);
  });

  test('it does not run if it is cancelled meanwhile', async () => {
    const { bench, decide } = hold();
    const transfer = await bench.create(kept);
    await bench.service.cancel(transfer.id, viewer('anna'));
    decide().may();
    await turn();
    expect([transfer.status, bench.jobs.length]).toEqual(['cancelled', 0]);
  });
});

test('a fill and a comparison wait for nothing', async () => {
  const { bench, asked } = hold();
  await bench.create(false, { operation: 'fill', pattern: '00' });
  await bench.create(false, { operation: 'compare' });
  expect(asked).toEqual([]);
});

test('one that a crash forgets has begun while it waits: what reads there must not run again then', async () => {
  const { bench } = hold();
  await bench.create(false);
  const behind = await bench.create(true, {
    segments: [{ src_offset: 4096, dst_offset: 8192, size: 4096 }],
  });
  expect(bench.recorded().get(behind.id)).toMatchObject({ unsettled: true });
});
