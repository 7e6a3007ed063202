// SPDX-License-Identifier: Apache-2.0
import assert from 'node:assert/strict';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { patched, type TransferSettings } from '../../../services/daemon/transfers/changes.ts';
import { IdempotencyKeys } from '../../../services/daemon/transfers/idempotency.ts';
import {
  type TransferPatch,
  transferPatchSchema,
} from '../../../services/daemon/transfers/request-schema.ts';
import { OutcomeUnknown } from '../../../services/http/problems/problem.ts';
import { FULL, MemoryWatermark } from '../../support/memory-store.ts';
import {
  type Fault,
  FaultyDisk,
  FaultyMark,
  FaultyStore,
  FaultyWatermark,
} from '../../support/scripted-disk.ts';
import { ServiceBench, turn } from './make-service.ts';
import { makePlan, viewer } from './make-transfer.ts';

const ANNA = viewer('anna');
const MIB = 2 ** 20;

describe('a merge patch', () => {
  /** RFC 7396, 2, as it stands there. */
  function mergePatch(target: unknown, patch: unknown): unknown {
    if (typeof patch !== 'object' || patch === null) return patch;
    const merged = new Map(
      typeof target === 'object' && target !== null ? Object.entries(target) : [],
    );
    for (const [name, value] of Object.entries(patch)) {
      if (value === null) merged.delete(name);
      else merged.set(name, mergePatch(merged.get(name), value));
    }
    return Object.fromEntries(merged);
  }

  test('gives what RFC 7396 says, and the default of what is null', () => {
    const name = fc.constantFrom('a', 'b', 'c', 'constructor', 'toString');
    const patch = fc.record(
      {
        priority: fc.constantFrom(null, 'high', 'low'),
        timeout_ms: fc.constantFrom(null, 1, 86_400_000),
        labels: fc.option(fc.dictionary(name, fc.option(fc.string({ maxLength: 3 })))),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(patch, { maxLength: 6 }), (patches) => {
        let settings: TransferSettings = { priority: 'low', timeoutMs: 7, labels: {} };
        let document: unknown = { priority: 'low', timeout_ms: 7, labels: {} };
        for (const each of patches) {
          settings = patched(settings, transferPatchSchema.parse(each));
          document = mergePatch(document, each);
        }
        const { priority = 'normal', timeout_ms, labels = {} } = document as TransferPatch;
        assert.deepEqual(settings, { priority, timeoutMs: timeout_ms, labels });
      }),
    );
  });
});

describe('a change of a transfer that is in the journal', () => {
  test('is there before it is answered, and the next daemon goes by it', async () => {
    const bench = await ServiceBench.after();
    await bench.create(true);
    const transfer = await bench.create(true, { labels: { a: '1' } }, 'key');
    const letThrough = bench.store.hold();
    const change = bench.service.change(transfer.id, ANNA, {
      priority: 'high',
      labels: { b: '2' },
    });
    await turn();
    expect(transfer.settings.priority).toBe('normal');
    letThrough();
    await change;
    expect(transfer.settings).toMatchObject({ priority: 'high', labels: { a: '1', b: '2' } });
    for (const labels of [{ c: '3' }, { c: null }, { d: '4' }]) {
      await bench.service.change(transfer.id, ANNA, { labels });
    }
    const again = bench.recordedTransfer(transfer);
    expect(again.settings).toEqual({
      ...{ priority: 'high', timeoutMs: undefined },
      labels: { a: '1', b: '2', d: '4' },
    });
    // What its key stands for is what was asked at first.
    const keys = new IdempotencyKeys(() => {});
    keys.remember(again);
    expect(keys.find('anna', 'key', makePlan({ labels: { a: '1' } }))).toBe(again.id);
    // All of its rows go with it.
    bench.end(0);
    while (bench.jobs.length < 2) await turn();
    bench.end(1);
    await bench.service.waitForEnd(transfer);
    expect(bench.recordedTransfer(transfer)).toMatchObject({ status: 'succeeded' });
  });

  test('that comes while the transfer is put there follows it', async () => {
    const bench = await ServiceBench.after();
    const transfer = await bench.create(false);
    const letThrough = bench.store.hold();
    const kept = bench.service.keep(transfer);
    const change = bench.service.change(transfer.id, ANNA, { labels: { late: 'yes' } });
    await turn();
    letThrough();
    await Promise.all([kept, change]);
    expect(bench.recordedTransfer(transfer).settings.labels).toEqual({ late: 'yes' });
  });

  test('of one whose client waits costs no row, and comes along if it is kept later', async () => {
    const bench = await ServiceBench.after();
    const transfer = await bench.create(false);
    await bench.service.change(transfer.id, ANNA, { timeout_ms: 60_000, labels: { a: '1' } });
    expect(bench.recorded().size).toBe(0);
    await bench.service.keep(transfer);
    expect(bench.recordedTransfer(transfer).settings).toMatchObject({
      ...{ timeoutMs: 60_000, labels: { a: '1' } },
    });
    await bench.service.change(transfer.id, ANNA, { timeout_ms: null });
    expect(bench.recordedTransfer(transfer).settings.timeoutMs).toBeUndefined();
    bench.end(0);
    await bench.service.waitForEnd(transfer);
  });

  test('has it start with what it has then, though its turn comes meanwhile', async () => {
    const bench = await ServiceBench.after();
    const first = await bench.create(true);
    const second = await bench.create(true);
    bench.end(0);
    // Its turn comes once the end of the first is on disk.
    const letThrough = bench.store.hold();
    await turn();
    const change = bench.service.change(second.id, ANNA, { priority: 'high', timeout_ms: 5000 });
    letThrough();
    await bench.service.waitForEnd(first);
    await change;
    while (bench.jobs.length < 2) await turn();
    expect(bench.jobs[1]?.job).toMatchObject({ priority: 'high', timeoutMs: 5000 });
    bench.end(1);
    await bench.service.waitForEnd(second);
  });

  test('waits for no end: one that stops meanwhile ends behind it', async () => {
    const bench = await ServiceBench.after();
    const transfer = await bench.create(true);
    const letThrough = bench.store.hold();
    const change = bench.service.change(transfer.id, ANNA, { labels: { last: 'one' } });
    await turn();
    bench.end(0);
    const late = expect(
      bench.service.change(transfer.id, ANNA, { labels: { too: 'late' } }),
    ).rejects.toMatchObject({ code: 'not_changeable' });
    letThrough();
    await Promise.all([change, late]);
    expect(transfer).toMatchObject({ status: 'succeeded', settings: { labels: { last: 'one' } } });
    expect(bench.recordedTransfer(transfer).settings.labels).toEqual({ last: 'one' });
  });

  test('reaches the job of one that runs, if it is about its time', async () => {
    const bench = await ServiceBench.after();
    const transfer = await bench.create(true);
    const change = (patch: TransferPatch) => bench.service.change(transfer.id, ANNA, patch);
    await change({ labels: { a: '1' } });
    expect([...bench.timeouts]).toEqual([]);
    await change({ timeout_ms: 60_000 });
    expect([...bench.timeouts]).toEqual([[1, 60_000]]);
    await change({ timeout_ms: null });
    expect([...bench.timeouts]).toEqual([[1, undefined]]);
    bench.end(0);
    await bench.service.waitForEnd(transfer);
  });

  test('that the disk refuses is none, and leaves the one before', async () => {
    const bench = await ServiceBench.after();
    const transfer = await bench.create(true);
    await bench.service.change(transfer.id, ANNA, { labels: { n: '1' } });
    bench.store.failure = FULL;
    bench.store.leavesRows = true;
    const refused = bench.service.change(transfer.id, ANNA, { labels: { n: '2' }, timeout_ms: 1 });
    await expect(refused).rejects.toMatchObject({ code: 'storage_full' });
    expect(transfer.settings).toMatchObject({ labels: { n: '1' }, timeoutMs: undefined });
    expect(bench.recordedTransfer(transfer).settings.labels).toEqual({ n: '1' });
  });
});

test('moves it into the lane of its new priority, behind those that wait there', async () => {
  const bench = await ServiceBench.after();
  const large = (n: number) => ({
    segments: [{ src_offset: 2 * n * MIB, dst_offset: (2 * n + 1) * MIB, size: MIB + 1 }],
  });
  for (let n = 0; n < 8; n++) await bench.create(false, large(4 * n));
  const waiting = await bench.create(false, large(32));
  const other = await bench.create(false, large(36));
  expect(bench.jobs).toHaveLength(8);
  await bench.service.change(other.id, ANNA, { priority: 'high' });
  await turn();
  expect([waiting.status, other.status]).toEqual(['queued', 'running']);
  expect(bench.jobs[8]?.job.priority).toBe('high');
  // Slots are counted in the lane that it ran in.
  bench.end(8);
  bench.end(0);
  expect(waiting.status).toBe('running');
  expect(bench.jobs).toHaveLength(10);
});

describe('whatever the disk does', () => {
  afterEach(() => {
    jest.useRealTimers();
  });
  const settled = async () => {
    for (let i = 0; i < 8; i++) await turn();
  };

  const cases = [3, 4, 5, 6, 7, 8, 9, 10].flatMap((first) =>
    (['before', 'after'] as const).flatMap((fault) =>
      [1, 2, 3, Number.POSITIVE_INFINITY].map((times) => ({ first, fault, times })),
    ),
  );
  test.each(cases)('$fault operation $first, $times times', async ({ first, fault, times }) => {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'performance', 'hrtime', 'Date'] });
    const faultOf = (operation: number): Fault =>
      operation >= first && operation < first + times ? fault : 'none';
    const disk = new FaultyDisk(faultOf);
    const mark = new FaultyMark(disk);
    const bench = new ServiceBench({
      ...{ store: new FaultyStore(disk), watermark: new FaultyWatermark(disk), mark },
    });
    bench.service.earlier.settle(undefined);
    const created = bench.create(true);
    await settled();
    const transfer = await created;
    let acknowledged = 0;
    const undecided = new Set<number>();
    for (let n = 1; n <= 8; n++) {
      const outcome = bench.service.change(transfer.id, ANNA, { labels: { n: String(n) } }).then(
        () => 'changed',
        (error) => (error instanceof OutcomeUnknown ? 'undecided' : error.code),
      );
      await settled();
      await jest.advanceTimersByTimeAsync(1100);
      await settled();
      const what = await Promise.race([outcome, turn().then(() => 'open')]);
      if (what === 'changed') acknowledged = n;
      else if (what === 'undecided' || what === 'open') undecided.add(n);
      else expect(what).toBe('storage_full');
      // A crash at any time finds the latest that was acknowledged, or what nobody was told of.
      const found = Number(bench.recordedTransfer(transfer).settings.labels.n ?? 0);
      assert.ok(found === acknowledged || undecided.has(found), `${found} of ${acknowledged}`);
      if (what === 'changed') expect(transfer.settings.labels).toEqual({ n: String(n) });
    }
    if (Number.isFinite(times)) expect(acknowledged).toBe(8);
  });

  /** Of which it is not known whether the disk has it, until the test lets the disk be written. */
  async function undecidedChange() {
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'performance', 'hrtime', 'Date'] });
    const watermark = new MemoryWatermark();
    const bench = new ServiceBench({ watermark });
    bench.service.earlier.settle(undefined);
    const transfer = await bench.create(true);
    watermark.failure = FULL;
    const change = bench.service.change(transfer.id, ANNA, { labels: { late: 'yes' } });
    const unknown = expect(change).rejects.toBeInstanceOf(OutcomeUnknown);
    const retry = async () => {
      await settled();
      await jest.advanceTimersByTimeAsync(1100);
      await settled();
    };
    await retry();
    await unknown;
    expect(transfer.settings.labels).toEqual({});
    const repair = async () => {
      watermark.failure = undefined;
      await retry();
    };
    return { bench, transfer, repair, retry };
  }

  test('a change whose outcome was not known is made once it is', async () => {
    const { bench, transfer, repair } = await undecidedChange();
    await repair();
    expect(transfer.settings.labels).toEqual({ late: 'yes' });
    expect(bench.recordedTransfer(transfer).settings).toMatchObject(transfer.settings);
  });

  test('a change that the disk has once the transfer is over is taken back', async () => {
    const { bench, transfer, repair, retry } = await undecidedChange();
    bench.end(0);
    await retry();
    expect(transfer.status).toBe('succeeded');
    await repair();
    await retry();
    expect(transfer.settings.labels).toEqual({});
    const parts = bench.rows().map(([key]) => key.replace(`${transfer.id}/`, ''));
    expect(parts).toEqual(expect.arrayContaining(['accepted', 'ended']));
    expect(parts).not.toContain('changed_1');
  });
});
