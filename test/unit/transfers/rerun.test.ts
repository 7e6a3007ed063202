// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from '@jest/globals';
import { ServiceBench, turn } from './make-service.ts';
import { type PlanMembers, viewer } from './make-transfer.ts';

const ANNA = viewer('anna');
/** Each of its segments reads what the other one writes. */
const SWAP: PlanMembers = {
  segments: [
    { src_offset: 0, dst_offset: 4096, size: 4096 },
    { src_offset: 4096, dst_offset: 0, size: 4096 },
  ],
};

describe('a daemon that shuts down leaves to the next one what it has not begun', () => {
  /** Its turn comes while it is being changed, and the daemon shuts down before the change is made. */
  async function shutDownWhileItChanges(bench: ServiceBench, transfer: { id: string }) {
    const change = bench.service.change(transfer.id, ANNA, { labels: { a: '1' } });
    bench.service.startNoMore();
    await change;
    await turn();
    await bench.shutDown();
    return bench.recorded().get(transfer.id);
  }

  test('a rerun that waits for a change is not counted as one', async () => {
    const first = await ServiceBench.after();
    const transfer = await first.create(true);
    const second = await ServiceBench.after(first);
    // It died.
    const third = await ServiceBench.after(second);
    expect(third.recorded().get(transfer.id)?.begun?.reruns ?? 0).toBe(0);
    const record = await shutDownWhileItChanges(third, transfer);
    expect(third.jobs).toHaveLength(0);
    expect(record).toMatchObject({
      begun: { reruns: 0 },
      change: { settings: { labels: { a: '1' } } },
    });
  });

  test.each(['its change', 'the disk'])(
    'one that would overwrite its own source, and waits for %s, runs again',
    async (what) => {
      const bench = await ServiceBench.after();
      const transfer = await bench.create(true, SWAP);
      expect(transfer.status).toBe('queued');
      if (what === 'its change') await shutDownWhileItChanges(bench, transfer);
      else await bench.shutDown();
      expect(bench.jobs).toHaveLength(0);
      const next = await ServiceBench.after(bench);
      expect((await next.service.get(transfer.id, ANNA)).status).toBe('queued');
      await next.shutDown();
    },
  );

  test('one that has overwritten its own source does not run again', async () => {
    const bench = await ServiceBench.after();
    const transfer = await bench.create(true, SWAP);
    while (bench.jobs.length === 0) await turn();
    await bench.shutDown();
    expect(bench.recordedTransfer(transfer).status).toBe('interrupted');
  });
});
