// SPDX-License-Identifier: Apache-2.0
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { WorkQueue } from '../../../services/daemon/order/work-queue.ts';
import { documentOf } from '../../../services/daemon/transfers/document.ts';
import { transferListQuerySchema } from '../../../services/daemon/transfers/list-schema.ts';
import type { TransferService } from '../../../services/daemon/transfers/service.ts';
import type { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { FULL, type MemoryStore } from '../../support/memory-store.ts';
import { ServiceBench, turn } from './make-service.ts';
import { makeDevice, viewer } from './make-transfer.ts';

const MIB = 2 ** 20;
const SWAP = [
  { src_offset: 0, dst_offset: 8192, size: 4096 },
  { src_offset: 8192, dst_offset: 0, size: 4096 },
];

describe('a transfer that has to be kept', () => {
  let bench: ServiceBench;
  let store: MemoryStore;
  let queue: WorkQueue;
  let service: TransferService;
  let events: string[];
  beforeEach(() => {
    events = [];
    bench = new ServiceBench();
    ({ store, queue, service } = bench);
    service.earlier.settle(undefined);
    service.feed.watchAll(viewer('anna'), ({ subject }) => events.push(subject.status));
  });

  const create = (journaled: boolean, key?: string, members = {}) =>
    bench.create(journaled, members, key);
  const listed = async () =>
    (await service.list(transferListQuerySchema.parse({}), viewer('anna'))).transfers;
  const rows = (part: string) => [...store.rows.keys()].filter((key) => key.endsWith(part));
  const soon = () => new Promise((resolve) => setTimeout(resolve, 20));

  test('is on disk before it starts, and before its answer or any event', async () => {
    const letThrough = store.hold();
    const created = create(true);
    await turn();
    expect([bench.jobs.length, (await listed()).length, events.length]).toEqual([0, 0, 0]);
    letThrough();
    const transfer = await created;
    expect(rows('/accepted')).toEqual([`${transfer.id}/accepted`]);
    expect([bench.jobs.length, await listed()]).toEqual([1, [transfer]]);
    expect(events).toEqual(['queued', 'running']);
  });

  test('has its place in the order from the start', async () => {
    const letThrough = store.hold();
    const first = create(true);
    await turn();
    const second = await create(false);
    expect(second.status).toBe('queued');
    letThrough();
    expect((await first).status).toBe('running');
    expect(second.status).toBe('queued');
  });

  test('finishes, and lets others start, once its end is on disk', async () => {
    const transfer = await create(true);
    const behind = await create(false);
    const letThrough = store.hold();
    bench.end(0);
    await turn();
    expect([transfer.status, behind.status]).toEqual(['running', 'queued']);
    letThrough();
    await service.waitForEnd(transfer);
    expect([transfer.status, behind.status]).toEqual(['succeeded', 'running']);
    expect(rows('/ended')).toHaveLength(1);
  });

  test('is answered as cancelled once that is on disk', async () => {
    const transfer = await create(true);
    await service.cancel(transfer.id, viewer('anna'));
    expect(transfer.status).toBe('cancelled');
    expect(rows('/ended')).toHaveLength(1);
  });

  test('that cannot be kept leaves nothing: no key, no place, no row', async () => {
    store.failure = FULL;
    await expect(create(true)).rejects.toMatchObject({ code: 'storage_full' });
    await expect(create(false, 'key')).rejects.toMatchObject({ code: 'storage_full' });
    expect([await listed(), events, bench.jobs, [...store.rows]]).toEqual([[], [], [], []]);
    expect([service.queued, service.running]).toEqual([0, 0]);
    // Behind nothing.
    expect((await create(false)).status).toBe('running');
    bench.end(0);
    store.failure = undefined;
    for (;;) {
      try {
        await create(false, 'key', { flush: false });
        break;
      } catch {
        await soon();
      }
    }
    expect(rows('/accepted')).toHaveLength(1);
    bench.end(1);
    while (service.running > 0) await turn();
    await queue.close();
  });

  test('one that is refused leaves no row that says that its source was being written', async () => {
    const copy = (src_offset: number, dst_offset: number) => ({
      segments: [{ src_offset, dst_offset, size: 4096 }],
    });
    await create(false, undefined, copy(0, 4096));
    await create(false, undefined, copy(16384, 0));
    const letThrough = store.hold();
    const refused = expect(create(true, undefined, copy(0, 8192))).rejects.toMatchObject({
      code: 'storage_full',
    });
    await turn();
    // The second one begins to write its source while its rows are on their way to the disk.
    bench.end(0);
    await turn();
    store.failure = FULL;
    letThrough();
    await refused;
    store.failure = undefined;
    while (bench.jobs.length < 2 || store.batches.length < 2) await soon();
    expect(store.batches.flatMap(({ rows }) => [...rows.keys()])).toContainEqual(
      expect.stringMatching('/unsettled$'),
    );
    expect(rows('/unsettled')).toEqual([]);
  });

  test('requests with one key at once are one, also where it is refused', async () => {
    const letThrough = store.hold();
    const both = Promise.all([create(false, 'key'), create(true, 'key')]);
    await turn();
    letThrough();
    const [one, other] = await both;
    expect(one).toBe(other);
    expect(bench.jobs).toHaveLength(1);
    store.failure = FULL;
    const refused = await Promise.allSettled([create(true, 'new'), create(true, 'new')]);
    expect(refused.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });

  test('one that nobody waits for any more is kept then, or stopped', async () => {
    const transfer = await create(false);
    expect(store.rows.size).toBe(0);
    await service.keep(transfer);
    expect(rows('/accepted')).toHaveLength(1);
    // It runs already, and might have overwritten its own source.
    expect(rows('/begun')).toHaveLength(1);
    bench.end(0);
    await service.waitForEnd(transfer);
    await service.keep(transfer);

    store.failure = FULL;
    const other = await create(false);
    await service.keep(other);
    expect(other).toMatchObject({ status: 'failed', error: { code: 'storage_full' } });
  });

  test('one that overwrites its own source starts once that is on disk', async () => {
    const transfer = await create(true, undefined, { segments: SWAP });
    expect(bench.jobs).toHaveLength(0);
    while (bench.jobs.length === 0) await turn();
    expect(rows('/begun')).toEqual([`${transfer.id}/begun`]);
  });

  test('says what it waits for: a slot, or a row that is not on disk yet', async () => {
    const large = (n: number) => ({
      segments: [{ src_offset: 2 * n * MIB, dst_offset: (2 * n + 1) * MIB, size: MIB + 1 }],
    });
    const transfers: Transfer[] = [];
    for (let n = 0; n < 9; n++) transfers.push(await create(false, undefined, large(4 * n)));
    const waits = transfers.map((transfer) => documentOf(transfer).waiting_for);
    expect(waits).toEqual([...Array(8).fill(null), { reason: 'slot' }]);
    const letThrough = store.hold();
    const behind = create(true, undefined, { segments: SWAP, source: makeDevice({ handle: 7 }) });
    letThrough();
    expect(documentOf(await behind).waiting_for).toEqual({ reason: 'journal' });
  });

  test('one that is cancelled before that never starts', async () => {
    const transfer = await create(true, undefined, { segments: SWAP });
    await service.cancel(transfer.id, viewer('anna'));
    for (let i = 0; i < 10; i++) await turn();
    expect([transfer.status, bench.jobs.length]).toEqual(['cancelled', 0]);
  });

  test('one that is cancelled does not start while that is on its way to the disk', async () => {
    await create(false);
    const transfer = await create(true);
    const behind = await create(false);
    const letThrough = store.hold();
    const cancelled = service.cancel(transfer.id, viewer('anna'));
    // Its turn comes meanwhile.
    bench.end(0);
    await turn();
    expect([bench.jobs.length, behind.status]).toEqual([1, 'queued']);
    letThrough();
    expect((await cancelled).status).toBe('cancelled');
    expect([bench.jobs.length, behind.status]).toEqual([2, 'running']);
    expect(events.filter((status) => status === 'cancelled')).toHaveLength(1);
  });

  test.each([
    ['and is left to the next where it gets there', undefined, 'queued'],
    ['and is over, and not said to go on, where it does not', FULL, 'failed'],
  ])('the daemon ends while it is on its way to the disk, %s', async (_, failure, status) => {
    const transfer = await create(false);
    const letThrough = store.hold();
    const kept = service.keep(transfer);
    await turn();
    const closed = queue.close();
    const interrupted = service.interrupt();
    await turn();
    expect(transfer.status).toBe('running');
    store.failure = failure;
    letThrough();
    await Promise.all([kept, interrupted, closed]);
    expect(transfer.status).toBe(status);
    expect(rows('/accepted')).toHaveLength(failure === undefined ? 1 : 0);
  });

  test.each([false, true])(
    'one that ends while it is on its way to a disk that fails ends once; journaled: %s',
    async (journaled) => {
      const transfer = await create(journaled);
      const letThrough = store.hold();
      const kept = service.keep(transfer);
      await turn();
      bench.end(0);
      store.failure = FULL;
      letThrough();
      await kept;
      await service.waitForEnd(transfer);
      expect(transfer.status).toBe('succeeded');
      expect(events).toEqual(['queued', 'running', 'succeeded']);
    },
  );

  test('at the end of the daemon it is left to the next, unless that could not run it', async () => {
    const again = await create(true);
    const behind = await create(true, undefined, { segments: SWAP });
    const awaited = await create(false);
    const waits = [again, behind].map((transfer) => service.waitForEnd(transfer));
    const closed = queue.close();
    await service.interrupt();
    await Promise.all([...waits, closed]);
    expect([again, behind, awaited].map(({ status }) => status)).toEqual([
      ...['queued', 'queued', 'interrupted'],
    ]);
    expect(documentOf(again)).toMatchObject({ bytes_completed: 0, started_at: null });
    expect(rows('/ended')).toHaveLength(0);
  });

  test('at the end of the daemon, one that has overwritten its source is interrupted', async () => {
    const transfer = await create(true, undefined, { segments: SWAP });
    while (bench.jobs.length === 0) await turn();
    const closed = queue.close();
    await service.interrupt();
    await closed;
    expect(transfer.status).toBe('interrupted');
    expect(rows('/ended')).toHaveLength(1);
  });

  test('what its client waited for is written without haste, and at the end', async () => {
    const transfer = await create(false);
    bench.end(0);
    expect(transfer.status).toBe('succeeded');
    expect(store.rows.size).toBe(0);
    while (rows('/ended').length === 0) await soon();
    expect(store.batches.every(({ sync }) => !sync)).toBe(true);
  });
});
