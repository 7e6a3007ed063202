// SPDX-License-Identifier: Apache-2.0
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import type { ActiveTransfer } from '../../../services/daemon/transfers/active.ts';
import { Dependents } from '../../../services/daemon/transfers/dependencies.ts';
import { documentOf } from '../../../services/daemon/transfers/document.ts';
import { History } from '../../../services/daemon/transfers/history.ts';
import { dependencyRows, partsOf } from '../../../services/daemon/transfers/rows.ts';
import type { Transfer } from '../../../services/daemon/transfers/transfer.ts';
import { deepTest } from '../../support/depth.ts';
import { FULL, MemoryStore } from '../../support/memory-store.ts';
import { ServiceBench, turn } from './make-service.ts';
import {
  createOne,
  makeDevice,
  makeOrigin,
  makePlan,
  makeTransfer,
  viewer,
} from './make-transfer.ts';

afterEach(() => {
  jest.restoreAllMocks();
});

const MIB = 2 ** 20;
const EIO = -5;

/** Ranges that nothing else of these touches. */
const elsewhere = (n: number) => ({
  segments: [{ src_offset: 16_384 * n, dst_offset: 16_384 * n + 8192, size: 4096 }],
});
const behindOf = (n: number, ...transfers: { id: string }[]) => ({
  ...elsewhere(n),
  dependsOn: transfers.map(({ id }) => id),
});

describe('a transfer that depends on others', () => {
  deepTest('fails with the first of a chain of thousands', async () => {
    const bench = await ServiceBench.after();
    const chain = [await bench.create(false, elsewhere(0))];
    while (chain.length < 5000) {
      chain.push(await bench.create(false, behindOf(1, chain.at(-1) as { id: string })));
    }
    bench.end(0, { status: EIO });
    await bench.service.waitForEnd(chain.at(-1) as (typeof chain)[number]);
    expect(chain.filter(({ status }) => status === 'failed')).toHaveLength(chain.length);
  });

  test.each([false, true])('starts behind them, wherever they are; journaled: %s', async (kept) => {
    const bench = await ServiceBench.after();
    const [first, second] = [
      await bench.create(kept, elsewhere(0)),
      await bench.create(kept, elsewhere(1)),
    ];
    const both = await bench.create(kept, behindOf(2, first, second));
    const last = await bench.create(kept, behindOf(3, both));
    expect(documentOf(both)).toMatchObject({
      ...{ status: 'queued', depends_on: [first.id, second.id] },
      waiting_for: { reason: 'order', transfers: [first.id, second.id] },
    });
    bench.end(1);
    await bench.service.waitForEnd(second);
    expect(documentOf(both).waiting_for).toEqual({ reason: 'order', transfers: [first.id] });
    bench.end(0);
    while (bench.jobs.length < 3) await turn();
    expect([both.status, last.status]).toEqual(['running', 'queued']);
    bench.end(2);
    while (bench.jobs.length < 4) await turn();
    bench.end(3);
    await bench.service.waitForEnd(last);
    expect(last.status).toBe('succeeded');
  });

  test.each([
    ['fails', 'failed'],
    ['is cancelled', 'cancelled'],
    ['was over', 'failed'],
  ])('fails at once if one of them %s, and so does what depends on it', async (how, status) => {
    const bench = await ServiceBench.after();
    const other = await bench.create(true, elsewhere(0));
    const first = await bench.create(true, elsewhere(1));
    if (how === 'was over') {
      bench.end(1, { status: EIO });
      await bench.service.waitForEnd(first);
    }
    const behind = await bench.create(true, behindOf(2, first, other));
    const last = await bench.create(false, behindOf(3, behind));
    if (how === 'fails') bench.end(1, { status: EIO });
    if (how === 'is cancelled') await bench.service.cancel(first.id, viewer('anna'));
    for (const transfer of [first, behind, last]) await bench.service.waitForEnd(transfer);
    expect(first.status).toBe(status);
    for (const transfer of [behind, last]) {
      expect(transfer).toMatchObject({ status: 'failed', bytesCompleted: 0 });
      expect(transfer.error?.code).toBe('dependency_failed');
    }
    expect(behind.error?.message).toContain(first.id);
    // What it would have waited for goes on, and nothing of the failed ones ever ran.
    bench.end(0);
    await bench.service.waitForEnd(other);
    expect([other.status, bench.jobs.length]).toEqual(['succeeded', 2]);
    expect(bench.recordedTransfer(behind).error?.code).toBe('dependency_failed');
  });

  test('needs no place behind those that have succeeded', async () => {
    const bench = await ServiceBench.after();
    const first = await bench.create(false, elsewhere(0));
    bench.end(0);
    const behind = await bench.create(false, behindOf(1, first, first));
    expect(behind.status).toBe('running');
  });

  test('knows only those of its client', async () => {
    const bench = await ServiceBench.after();
    const others = await bench.create(false, elsewhere(0), undefined, 'bob');
    for (const id of [
      others.id,
      '01a20400-0be6-721d-ba17-e230afce8d70',
      '#0',
      '',
      'x'.repeat(999),
    ]) {
      const own = await bench.create(false, elsewhere(1));
      await expect(
        bench.create(true, { ...elsewhere(2), dependsOn: [own.id, id] }, 'key'),
      ).rejects.toMatchObject({
        code: 'unknown_transfer',
        options: { errors: [{ pointer: '/depends_on/1' }] },
      });
      await expect(
        bench.service.checkDependencies([{ dependsOn: [own.id, id] }], 'anna'),
      ).rejects.toMatchObject({
        code: 'unknown_transfer',
      });
    }
    // Its key is free.
    expect((await bench.create(true, elsewhere(2), 'key')).status).toBe('running');
  });

  test('has another meaning than one that does not', async () => {
    const bench = await ServiceBench.after();
    const first = await bench.create(true, elsewhere(0));
    const behind = await bench.create(true, behindOf(1, first), 'key');
    expect(await bench.create(true, behindOf(1, first), 'key')).toBe(behind);
    await expect(bench.create(true, elsewhere(1), 'key')).rejects.toMatchObject({
      code: 'idempotency_key_reused',
    });
  });

  test('ends by its own timeout, too', async () => {
    const bench = await ServiceBench.after();
    const first = await bench.create(false, elsewhere(0));
    const behind = await bench.create(false, { ...behindOf(1, first), timeoutMs: 10 });
    await bench.service.waitForEnd(behind);
    expect(behind.error?.code).toBe('timeout');
  });

  test('takes those along into the journal that it depends on', async () => {
    const bench = await ServiceBench.after();
    const first = await bench.create(false, elsewhere(0));
    const second = await bench.create(false, behindOf(1, first));
    const third = await bench.create(true, behindOf(2, second));
    await turn();
    await turn();
    const records = bench.recorded();
    expect([...records.keys()].sort()).toEqual([first.id, second.id, third.id].sort());
    expect(records.get(third.id)?.dependencies).toEqual({ ids: [second.id], open: [second.id] });
  });

  // A transfer of 4096 segments takes 0.3 MiB once it is made, and a request can name 26,000.
  test('makes no finished transfer anew, and looks up each once for a batch', async () => {
    const bench = await ServiceBench.after();
    const finished = [];
    for (let n = 0; n < 26; n++) finished.push(await bench.create(true, elsewhere(0)));
    for (let n = 0; n < 20; n++) {
      bench.end(n);
      await bench.service.waitForEnd(finished[n] as Transfer);
    }
    for (const { id } of finished.slice(20)) await bench.service.cancel(id, viewer('anna'));
    const made = jest.spyOn(History.prototype, 'get');
    const lookedUp = jest.spyOn(History.prototype, 'dependency');
    const plan = makePlan(behindOf(1, ...finished));
    const one = { request: plan, origin: makeOrigin(), makePlan: () => plan };
    const created = await bench.service.create(Array(500).fill(one), true);
    expect(lookedUp).toHaveBeenCalledTimes(26);
    for (const { transfer } of created) await bench.service.waitForEnd(transfer);
    expect(created.at(-1)?.transfer.error?.code).toBe('dependency_failed');
    await bench.service.checkDependencies(Array(500).fill(plan), 'anna');
    expect(lookedUp).toHaveBeenCalledTimes(52);
    // The new ones are, to be written to the journal.
    const ids = new Set(finished.map(({ id }) => id));
    expect(made.mock.calls.filter(([id]) => ids.has(id))).toEqual([]);
  });

  // It may wait for long, and each of those can have thousands of segments.
  test('keeps no transfer in memory that has succeeded', async () => {
    const added = jest.spyOn(Dependents.prototype, 'add');
    const bench = await ServiceBench.after();
    const [first, second] = [
      await bench.create(true, elsewhere(0)),
      await bench.create(false, elsewhere(1)),
    ];
    const behind = await bench.create(true, behindOf(2, first, second));
    const [active] = added.mock.lastCall as [ActiveTransfer];
    expect(active.dependencies).toEqual([first, second]);
    bench.end(0);
    await bench.service.waitForEnd(first);
    const { id, status, finished } = first;
    expect(active.dependencies[0]).toEqual({ id, status, finished, origin: { client: 'anna' } });
    expect(active.dependencies[1]).toBe(second);
    bench.end(1);
    while (bench.jobs.length < 3) await turn();
    bench.end(2);
    await bench.service.waitForEnd(behind);
    expect(behind.status).toBe('succeeded');
  });

  test('is refused as a whole where the disk is full, and leaves no row', async () => {
    const bench = await ServiceBench.after();
    const first = await bench.create(true, elsewhere(0));
    bench.store.failure = FULL;
    await expect(bench.create(true, behindOf(1, first))).rejects.toMatchObject({
      code: 'storage_full',
    });
    expect(
      [...bench.store.rows.keys()].filter((key) => !key.startsWith(first.id)),
    ).not.toContainEqual(expect.stringMatching('/dependencies$'));
    bench.store.failure = undefined;
    bench.end(0);
    await bench.service.waitForEnd(first);
    expect(bench.jobs).toHaveLength(1);
  });
});

describe('after a crash', () => {
  test('it waits again for those that run again, and for no others', async () => {
    const before = await ServiceBench.after();
    const [over, open] = [
      await before.create(true, elsewhere(0)),
      await before.create(true, elsewhere(1)),
    ];
    const behind = await before.create(true, behindOf(2, over, open), 'key');
    const last = await before.create(true, behindOf(3, behind));
    before.end(0);
    await before.service.waitForEnd(over);

    const made = jest.spyOn(History.prototype, 'get');
    const bench = await ServiceBench.after(before);
    // Services of other tests keep what ended there, each second.
    const ids = new Set([over, open, behind, last].map(({ id }) => id));
    expect(made.mock.calls.filter(([id]) => ids.has(id))).toEqual([]);
    while (bench.jobs.length < 1) await turn();
    const found = await bench.service.get(behind.id, viewer('anna'));
    expect(documentOf(found)).toMatchObject({
      ...{ status: 'queued', depends_on: [over.id, open.id] },
      waiting_for: { reason: 'order', transfers: [open.id] },
    });
    // The key stands for the same request.
    const again = await bench.create(true, behindOf(2, over, open), 'key');
    expect(again).toBe(found);
    bench.end(0);
    while (bench.jobs.length < 2) await turn();
    bench.end(1);
    while (bench.jobs.length < 3) await turn();
    bench.end(2);
    const end = await bench.service.get(last.id, viewer('anna'));
    await bench.service.waitForEnd(end);
    expect([found.status, end.status]).toEqual(['succeeded', 'succeeded']);
  });

  test('it fails if one of them did, or is interrupted', async () => {
    const before = await ServiceBench.after();
    const failing = await before.create(true, elsewhere(0));
    const swap = [
      { src_offset: 900_000, dst_offset: 910_000, size: 4096 },
      { src_offset: 910_000, dst_offset: 900_000, size: 4096 },
    ];
    const lost = await before.create(true, { segments: swap });
    while (before.jobs.length < 2) await turn();
    const ids = [
      (await before.create(true, behindOf(1, failing))).id,
      (await before.create(true, behindOf(2, lost))).id,
    ];
    const rows = before.rows();
    before.end(0, { status: EIO });
    await before.service.waitForEnd(failing);
    // The end of the first is there, and that of what depends on it is not.
    for (const [key, value] of before.rows()) {
      if (key === `${failing.id}/ended`) rows.push([key, value]);
    }
    const crashed = new ServiceBench({ store: new MemoryStore(rows) });
    const bench = await ServiceBench.after(crashed);
    for (const id of ids) {
      const transfer = await bench.service.get(id, viewer('anna'));
      await bench.service.waitForEnd(transfer);
      expect(transfer.error?.code).toBe('dependency_failed');
    }
    expect(bench.jobs).toHaveLength(0);
  });

  test('it is interrupted if one of them is not known any more, unless that had succeeded', async () => {
    // With so little room that its history is short.
    const before = new ServiceBench({ heapBytes: 2 ** 21 });
    before.service.earlier.settle(undefined);
    const [forgotten, open] = [
      await before.create(true, elsewhere(0), undefined),
      await before.create(true, elsewhere(1)),
    ];
    const behind = await before.create(true, behindOf(2, forgotten, open));
    before.end(0);
    await before.service.waitForEnd(forgotten);
    const without = before.rows().filter(([key]) => !key.startsWith(forgotten.id));
    const doubtful = await ServiceBench.after(
      new ServiceBench({ store: new MemoryStore(without) }),
    );
    const unsure = await doubtful.service.get(behind.id, viewer('anna'));
    await doubtful.service.waitForEnd(unsure);
    expect(unsure.error).toMatchObject({ code: 'interrupted' });
    expect(unsure.error?.message).toContain(forgotten.id);

    // The history forgets it for others, and says first that it had succeeded.
    for (let n = 0; n < 2000; n++) {
      const filler = await before.create(false, elsewhere(3));
      filler.acknowledged = true;
      before.end(before.jobs.length - 1);
    }
    before.service.close();
    while (before.rows().some(([key]) => key.startsWith(forgotten.id))) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(before.recorded().get(behind.id)?.dependencies).toEqual({
      ...{ ids: [forgotten.id, open.id], open: [open.id] },
    });
  });

  test('versions that know no dependencies do not run it', () => {
    const [key] = [...dependencyRows(makeTransfer({ dependsOn: ['x'] }), ['x']).keys()];
    const known = ['accepted', 'unsettled', 'begun', 'ended'];
    expect(known).not.toContain(partsOf(key as string)[1]);
  });
});

test('what the daemon stops at its end lets nothing start that was to wait for it', async () => {
  const bench = await ServiceBench.after();
  const large = (n: number) => ({
    segments: [{ src_offset: 2 * n * MIB, dst_offset: (2 * n + 1) * MIB, size: MIB + 1 }],
  });
  for (let n = 0; n < 8; n++) await bench.create(false, large(4 * n));
  const ready = await bench.create(true, large(32));
  const source = makeDevice({ handle: 9 });
  const { segments } = large(32);
  const touching = makePlan({ segments });
  const behind = await createOne(bench.service, touching, makeOrigin(undefined, 'bob'), true);
  const depends = await bench.create(true, { ...behindOf(0, ready), source });
  expect(bench.jobs).toHaveLength(8);
  const closed = bench.queue.close();
  const interrupted = bench.service.interrupt();
  await Promise.all([closed, interrupted]);
  expect(bench.jobs).toHaveLength(8);
  expect([ready.status, behind.status, depends.status]).toEqual(['queued', 'queued', 'queued']);
});
