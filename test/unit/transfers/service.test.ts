// SPDX-License-Identifier: Apache-2.0

import { constants } from 'node:os';
import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from '@jest/globals';
import type { HeapOptions } from '../../../services/base/heap.ts';
import type { DmaEngine } from '../../../services/daemon/engines/dma.ts';
import type { JobListener } from '../../../services/daemon/engines/jobs-in-flight.ts';
import type { Completion, Job } from '../../../services/daemon/engines/records.ts';
import type { WorkQueue } from '../../../services/daemon/order/work-queue.ts';
import { documentOf } from '../../../services/daemon/transfers/document.ts';
import { transferListQuerySchema } from '../../../services/daemon/transfers/list-schema.ts';
import { transferSchema } from '../../../services/daemon/transfers/schema.ts';
import type { TransferService } from '../../../services/daemon/transfers/service.ts';
import type { Transfer, TransferPlan } from '../../../services/daemon/transfers/transfer.ts';
import { deepTest } from '../../support/depth.ts';
import { FakeDmaPort, makeChannel, makeDma } from '../../support/fake-dma.ts';
import { MemoryStore, memoryJournal } from '../../support/memory-store.ts';
import { makeService } from './make-service.ts';
import {
  completion,
  createOne,
  makeDevice,
  makeOrigin,
  makePlan,
  makeQueue,
  makeTransfer,
  type PlanMembers,
  viewer,
} from './make-transfer.ts';

const ECANCELED = -125;

/** An engine whose jobs end when the test says so. */
class FakeEngine {
  readonly jobs: { tag: number; job: Job; listener: JobListener; over: boolean }[] = [];
  readonly cancelled: number[] = [];

  submit(job: Job, listener: JobListener): number {
    const tag = this.jobs.length + 1;
    this.jobs.push({ tag, job, listener, over: false });
    return tag;
  }

  cancel(tag: number): void {
    this.cancelled.push(tag);
  }

  end(index: number, members: Partial<Completion> = {}): void {
    const job = this.jobs[index];
    if (job === undefined || job.over) throw new Error(`job ${index} is not in flight`);
    job.over = true;
    job.listener.done(completion({ tag: job.tag, ...members }));
  }
}

describe('TransferService', () => {
  let engine: FakeEngine;
  let queue: WorkQueue;
  let store: MemoryStore;
  let port: FakeDmaPort;
  let dma: DmaEngine;
  let service: TransferService;
  let finished: Transfer[];
  let counted: number;
  let events: string[];

  beforeEach(() => {
    engine = new FakeEngine();
    queue = makeQueue();
    store = new MemoryStore();
    port = new FakeDmaPort();
    dma = makeDma(port);
    finished = [];
    counted = 0;
    events = [];
    service = withEngine();
    service.earlier.settle(undefined);
    service.feed.watchAll(viewer('anna'), ({ kind, subject }) => {
      events.push(`${kind} ${subject.status}`);
    });
  });

  const withEngine = (options: HeapOptions = {}) =>
    makeService({
      ...options,
      ...{ engine, dma, queue, journal: memoryJournal(store).journal },
      observer: {
        progressed: (_transfer, bytes) => {
          counted += bytes;
        },
        finished: (transfer) => finished.push(transfer),
      },
    });

  const create = async (members: PlanMembers = {}, key?: string) => {
    const plan = makePlan(members);
    return createOne(service, plan, makeOrigin(key));
  };
  const document = (transfer: Transfer) =>
    transferSchema.parse(JSON.parse(JSON.stringify(documentOf(transfer))));

  test('sees a transfer through', async () => {
    const transfer = await create({ verify: true });
    expect(transfer.status).toBe('running');
    expect([service.running, service.queued]).toEqual([1, 0]);
    expect(engine.jobs[0]?.job).toMatchObject({ flush: true, verify: true, engine: 'cpu' });
    const over = service.waitForEnd(transfer);
    engine.jobs[0]?.listener.progress?.(1024);
    expect(counted).toBe(1024);
    expect(document(transfer)).toMatchObject({ bytes_completed: 1024, progress: 0.25 });
    engine.end(0, { copyNs: 2000, sourceCrc: 0xabc, destinationCrc: 0xabc });
    await over;
    expect(document(transfer)).toMatchObject({
      status: 'succeeded',
      bytes_completed: 4096,
      progress: 1,
      durability: { requested: 'flush', achieved: 'flush', basis: 'msync' },
      verification: { method: 'crc32c', segments: 1, src: '00000abc', dst: '00000abc' },
      throughput_bytes_per_second: 2_048_000_000,
      error: null,
    });
    expect(events).toEqual([
      'status queued',
      'status running',
      'progress running',
      'status succeeded',
    ]);
    expect(finished).toEqual([transfer]);
    expect(counted).toBe(4096);
    expect([service.running, service.queued]).toEqual([0, 0]);
    await queue.close();
  });

  test('with a small heap, fewer finished transfers are kept', async () => {
    service = withEngine({ heapBytes: 2 ** 20 });
    service.earlier.settle(undefined);
    const last: Transfer[] = [];
    for (let n = 0; n < 100; n++) {
      last.push(await create());
      engine.end(n);
    }
    const query = transferListQuerySchema.parse({});
    const { transfers } = await service.list(query, viewer('anna'));
    expect(transfers.length).toBeGreaterThan(10);
    expect(transfers.length).toBeLessThan(50);
    expect(transfers[0]).toEqual(last.at(-1));
    service.close();
  });

  test('what an earlier daemon with a larger heap has kept is forgotten while it is read', async () => {
    service = withEngine({ heapBytes: 2 ** 20 });
    const past = Array.from({ length: 2000 }, () => makeTransfer());
    for (const transfer of past) transfer.finish(transfer.outcome(undefined, undefined));
    for (const transfer of past) service.earlier.add([{ kind: 'finished', transfer, foreign: [] }]);
    // Others are waited for, until all are read.
    const known = past.map(({ id }) =>
      Promise.race([service.get(id, viewer('anna')).catch(() => undefined), sleep(0, undefined)]),
    );
    const found = (await Promise.all(known)).filter((transfer) => transfer !== undefined);
    expect(found.length).toBeGreaterThan(100);
    expect(found.length).toBeLessThan(1000);
    expect(found.at(-1)?.id).toBe(past.at(-1)?.id);
    service.earlier.settle(undefined);
    service.close();
  });

  test('nobody waits for the end who has left, and the transfer goes on', async () => {
    const transfer = await create();
    const answer = new PassThrough();
    const waits = [undefined, 60_000].map((ms) => service.waitForEnd(transfer, ms, answer));
    answer.destroy();
    await Promise.all(waits);
    await service.waitForEnd(transfer, 60_000, answer);
    expect(transfer.status).toBe('running');
    engine.end(0);
    expect(transfer.status).toBe('succeeded');
  });

  test('starts nothing on a device that has gone while it waited', async () => {
    const destination = makeDevice({ name: 'dax1.0', handle: 1 });
    const first = await create({ destination });
    const second = await create({ destination });
    destination.state = 'gone';
    engine.end(0);
    // What went well was written to where nobody finds it.
    expect(first).toMatchObject({ status: 'failed', error: { code: 'device_gone' } });
    expect(second).toMatchObject({ status: 'failed', error: { code: 'device_gone' } });
    expect(engine.jobs).toHaveLength(1);
  });

  describe('with a DMA engine', () => {
    const plan: PlanMembers = {
      requestedEngine: 'dma',
      choice: { engine: 'dma', reason: 'the request asks for it', cpuBytes: 0 },
    };
    beforeEach(() => {
      port.status = 0;
      port.channels = [makeChannel(), makeChannel({ id: 3, name: 'dma0chan3' })];
      dma.refresh();
    });

    test('says which channels had a part of a copy, and how often it was tried again', async () => {
      const transfer = await create({ ...plan, timeoutMs: 5000 });
      expect(engine.jobs[0]?.job).toMatchObject({ engine: 'dma', timeoutMs: 5000 });
      engine.end(0, {
        dma: { error: 'none', channels: [0, 3], failedChannel: undefined, retries: 2 },
      });
      expect(document(transfer)).toMatchObject({
        status: 'succeeded',
        engine: 'dma',
        channels: ['dma0chan0', 'dma0chan3'],
        retries: 2,
      });
    });

    test.each([
      ['read', -constants.errno.EIO, 'dma_error', 502],
      ['write', -constants.errno.EIO, 'dma_error', 502],
      ['lost', -constants.errno.EIO, 'dma_error', 502],
      ['map', -constants.errno.EIO, 'dma_error', 502],
      ['aborted', -constants.errno.EIO, 'dma_error', 502],
      ['timeout', -constants.errno.ETIMEDOUT, 'timeout', 504],
      ['channel_gone', -constants.errno.ENODEV, 'dma_error', 502],
      ['device_gone', -constants.errno.ENXIO, 'device_gone', 503],
    ] as const)(
      'tells a copy that failed for "%s" from others',
      async (error, status, code, http) => {
        const transfer = await create(plan);
        engine.end(0, { status, dma: { error, channels: [3], failedChannel: 3, retries: 1 } });
        expect(document(transfer)).toMatchObject({
          status: 'failed',
          durability: { achieved: 'none' },
          error: { code, status: http },
        });
        if (code === 'device_gone') return;
        expect(document(transfer).error).toMatchObject({
          dma: { error, channel: 'dma0chan3', retries: 1 },
          detail: expect.stringContaining('dma0chan3'),
        });
      },
    );

    test('takes the CPU where the channels went while it waited, if it may', async () => {
      const plans = [plan, { ...plan, requestedEngine: 'auto' as const }, plan];
      const [, auto, strict] = await Promise.all(plans.map((each) => create(each)));
      port.channels = [makeChannel({ state: 'set_aside' })];
      engine.end(0);
      expect(auto).toMatchObject({ status: 'running', choice: { engine: 'cpu' } });
      expect(auto?.choice.reason).toContain('dma0chan0 is set_aside');
      engine.end(1);
      expect(strict?.status).toBe('failed');
      expect(document(strict as Transfer).error).toMatchObject({
        code: 'dma_error',
        detail: expect.stringContaining('dma0chan0 is set_aside'),
      });
      expect(engine.jobs).toHaveLength(2);
    });
  });

  test('starts what touches the same bytes in order', async () => {
    const made = [await create(), await create(), await create()];
    expect(made.map(({ status }) => status)).toEqual(['running', 'queued', 'queued']);
    engine.end(0);
    expect(made.map(({ status }) => status)).toEqual(['succeeded', 'running', 'queued']);
    expect(engine.jobs).toHaveLength(2);
  });

  test('a destination that is volatile, or not to be flushed, is reported as such', async () => {
    const volatile = makeDevice({ flushBasis: 'none' });
    const first = await create({ source: volatile, destination: volatile });
    engine.end(0);
    expect(document(first).durability).toEqual({
      requested: 'flush',
      achieved: 'volatile',
      basis: null,
    });
    const second = await create({ flush: false });
    engine.end(1);
    expect(document(second).durability).toEqual({
      requested: 'none',
      achieved: 'none',
      basis: null,
    });
  });

  test.each([
    [-5, 'media_error'],
    [-6, 'device_gone'],
    [-28, 'storage_full'],
    [-74, 'verify_mismatch'],
    [-9999, 'internal_error'],
  ])('status %i fails it as %s', async (status, code) => {
    const transfer = await create({ verify: true });
    engine.jobs[0]?.listener.progress?.(60);
    engine.end(0, { status, bytesDone: 100, segment: 0, sourceCrc: 1, destinationCrc: 2 });
    expect(document(transfer)).toMatchObject({
      status: 'failed',
      bytes_completed: 100,
      error: { code, instance: 'urn:dmad:request:some-request' },
      durability: { achieved: 'none', basis: null },
    });
    expect(counted).toBe(100);
    expect(document(transfer).verification === null).toBe(code !== 'verify_mismatch');
  });

  test('cancels one that waits at once, and what waits for it goes on', async () => {
    const [first, second, third] = [await create(), await create(), await create()];
    expect(await service.cancel(second.id, viewer('anna'))).toBe(second);
    expect(document(second)).toMatchObject({
      status: 'cancelled',
      bytes_completed: 0,
      started_at: null,
      error: { code: 'cancelled' },
    });
    expect(engine.cancelled).toEqual([]);
    engine.end(0);
    expect([first.status, third.status]).toEqual(['succeeded', 'running']);
  });

  test('cancels one that runs once the engine has stopped it', async () => {
    const transfer = await create();
    const cancelled = service.cancel(transfer.id, viewer('anna'));
    expect(engine.cancelled).toEqual([1]);
    expect(transfer.finished).toBe(false);
    engine.end(0, { status: ECANCELED, bytesDone: 512 });
    await cancelled;
    expect(document(transfer)).toMatchObject({ status: 'cancelled', bytes_completed: 512 });
  });

  test('cancelling is refused if the transfer ended first, has finished before, or is unknown', async () => {
    const transfer = await create();
    const cancelled = service.cancel(transfer.id, viewer('anna'));
    engine.end(0);
    await expect(cancelled).rejects.toMatchObject({
      code: 'not_cancellable',
      options: { members: { transfer: { id: transfer.id, status: 'succeeded' } } },
    });
    await expect(service.cancel(transfer.id, viewer('anna'))).rejects.toMatchObject({
      code: 'not_cancellable',
    });
    await expect(service.cancel('none', viewer('anna'))).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  test('two who cancel at once get the same answer', async () => {
    const transfer = await create();
    const both = Promise.all([
      service.cancel(transfer.id, viewer('anna')),
      service.cancel(transfer.id, viewer('anna')),
    ]);
    engine.end(0, { status: ECANCELED });
    expect(await both).toEqual([transfer, transfer]);
    expect(engine.cancelled).toEqual([1]);
  });

  test('its timeout stops it, waiting or running', async () => {
    const running = await create({ timeoutMs: 1 });
    const waiting = await create({ timeoutMs: 1 });
    await service.waitForEnd(waiting);
    expect(document(waiting)).toMatchObject({ status: 'failed', error: { code: 'timeout' } });
    expect(engine.cancelled).toEqual([1]);
    engine.end(0, { status: ECANCELED });
    expect(document(running)).toMatchObject({ status: 'failed', error: { code: 'timeout' } });
  });

  test('its timeout means nothing once it has finished', async () => {
    const transfer = await create({ timeoutMs: 5 });
    engine.end(0);
    await sleep(30);
    expect(transfer.status).toBe('succeeded');
    expect(engine.cancelled).toEqual([]);
  });

  test('a job that the engine refuses fails alone', async () => {
    const transfer = await create();
    engine.end(0, { status: -constants.errno.EINVAL });
    expect(document(transfer)).toMatchObject({
      status: 'failed',
      error: { code: 'internal_error' },
    });
    expect((await create()).status).toBe('running');
    engine.end(1);
    expect([service.running, service.queued]).toEqual([0, 0]);
    await queue.close();
  });

  deepTest('the same key gives the same transfer, and keeps it past the history', async () => {
    const transfer = await create({}, 'key');
    const over = service.waitForEnd(transfer);
    const noMore = () => {
      throw new Error('what was possible then is not any more');
    };
    const replay = { request: makePlan(), origin: makeOrigin('key'), makePlan: noMore };
    expect(await service.create([replay], false)).toEqual([{ transfer, replayed: true }]);
    engine.end(0);
    await over;
    for (let i = 1; i <= 10_001; i++) {
      await create();
      engine.end(i);
    }
    expect(await service.get(transfer.id, viewer('anna'))).toEqual(transfer);
    expect(await create({}, 'key')).toEqual(transfer);
    expect(engine.jobs).toHaveLength(10_002);
  });

  deepTest('forgets the first to end beyond 10,000', async () => {
    const first = await create();
    engine.end(0);
    for (let i = 1; i < 10_000; i++) {
      await create();
      engine.end(i);
    }
    expect(await service.get(first.id, viewer('anna'))).toEqual(first);
    await create();
    engine.end(10_000);
    await expect(service.get(first.id, viewer('anna'))).rejects.toThrow(
      expect.objectContaining({ code: 'not_found' }),
    );
  });

  test('limits how many segments wait, and accepts more once some have started', async () => {
    const segments = Array(4096).fill({ src_offset: 0, dst_offset: 4096, size: 4096 });
    for (let i = 0; i < 32; i++) await create({ segments });
    const full = expect.objectContaining({ code: 'queue_full' });
    await expect(create()).rejects.toEqual(full);
    await expect(create({}, 'key')).rejects.toEqual(full);
    expect(service.queued).toBe(31);
    engine.end(0);
    // A key of a request that was refused is free.
    const origin = makeOrigin('key');
    const plan = makePlan({ flush: false });
    const again = await service.create([{ request: plan, origin, makePlan: () => plan }], false);
    expect(again).toMatchObject([{ replayed: false }]);
  });

  test('takes nothing while it shuts down, and interrupts what is left', async () => {
    const [running, waiting] = [await create(), await create()];
    const closed = queue.close();
    await expect(create()).rejects.toMatchObject({ code: 'shutting_down' });
    const interrupted = service.interrupt();
    await service.waitForEnd(waiting as Transfer);
    expect(waiting.status).toBe('interrupted');
    engine.end(0, { status: ECANCELED, bytesDone: 1 });
    await interrupted;
    await closed;
    expect(document(running)).toMatchObject({
      status: 'interrupted',
      error: { code: 'interrupted' },
    });
    expect(finished).toHaveLength(2);
  });

  test('waits no longer than requested', async () => {
    const transfer = await create();
    await service.waitForEnd(transfer, 0);
    await service.waitForEnd(transfer, 1);
    expect(transfer.finished).toBe(false);
    engine.end(0);
    await service.waitForEnd(transfer);
  });

  test('small ones do not queue behind large ones, nor one priority behind another', async () => {
    const device = makeDevice({ size: 2 ** 40 });
    let at = 0;
    const apart = async (size: number, priority: TransferPlan['priority']) => {
      const segments = [{ src_offset: at, dst_offset: at + size, size }];
      at += 2 * size;
      return await create({ source: device, destination: device, segments, bytes: size, priority });
    };
    for (let i = 0; i < 20; i++) await apart(2 ** 21, 'normal');
    expect(service.queued).toBe(12);
    for (const priority of ['high', 'normal', 'low'] as const) {
      expect((await apart(2 ** 20, priority)).status).toBe('running');
    }
    expect((await apart(2 ** 21, 'low')).status).toBe('running');
    expect((await apart(2 ** 21, 'high')).status).toBe('running');
    expect((await apart(2 ** 21, 'normal')).status).toBe('queued');
  });
});
