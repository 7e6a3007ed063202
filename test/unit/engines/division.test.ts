// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { beforeEach, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { SegmentList } from '../../../services/base/segments.ts';
import { submitDivided } from '../../../services/daemon/engines/division.ts';
import type { JobListener } from '../../../services/daemon/engines/jobs-in-flight.ts';
import { type Completion, type Job, NO_DMA } from '../../../services/daemon/engines/records.ts';
import { completion } from '../transfers/make-transfer.ts';

const { ECANCELED, EIO, ENOMEM } = constants.errno;
const SIZE = 1000;
const job = {
  ...{ source: 1, destination: 2, engine: 'dma', priority: 'low', flush: true, timeoutMs: 7 },
  segments: SegmentList.of({ src_offset: 5000, dst_offset: 100, size: SIZE }),
} satisfies Job;

/** An engine whose jobs end as a test says. */
class FakeEngine {
  readonly jobs: { job: Job; listener: JobListener }[] = [];
  readonly cancelled: number[] = [];

  submit(submitted: Job, listener: JobListener): number {
    return this.jobs.push({ job: submitted, listener });
  }

  cancel(tag: number): void {
    this.cancelled.push(tag);
  }

  end(tag: number, members: Partial<Completion> = {}): void {
    const { job: ended, listener } = this.jobs[tag - 1] as (typeof this.jobs)[number];
    const bytesDone = ended.segments.bytes;
    listener.done(completion({ tag, status: 0, bytesDone, ...members }));
  }
}

let engine: FakeEngine;
let heard: (Completion | (number | undefined)[])[];
const listener: JobListener = {
  progress: (bytes, byCpu) => heard.push([bytes, byCpu]),
  done: (end) => heard.push(end),
};

beforeEach(() => {
  engine = new FakeEngine();
  heard = [];
});

describe('a job for both engines', () => {
  test('is cut into two parts that make up the whole', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: SIZE - 1 }), (cpuBytes) => {
        const both = new FakeEngine();
        submitDivided(both, job, cpuBytes, listener);
        const [dma, cpu] = both.jobs.map((part) => part.job);
        expect(dma).toEqual({
          ...job,
          segments: SegmentList.of({ src_offset: 5000, dst_offset: 100, size: SIZE - cpuBytes }),
        });
        const at = SIZE - cpuBytes;
        expect(cpu).toEqual({
          ...{ ...job, engine: 'cpu' },
          segments: SegmentList.of({
            ...{ src_offset: 5000 + at, dst_offset: 100 + at },
            size: cpuBytes,
          }),
        });
      }),
    );
  });

  test.each([
    [1, 2],
    [2, 1],
  ])('ends once both parts have ended (%d first)', (first, second) => {
    expect(submitDivided(engine, job, 300, listener)).toEqual([1, 2]);
    engine.jobs[1]?.listener.progress?.(100);
    engine.jobs[0]?.listener.progress?.(400);
    expect(heard.splice(0)).toEqual([
      [100, 100],
      [500, 100],
    ]);
    engine.end(first, { startedNs: 10, finishedNs: 30, copyNs: 5, flushNs: 9 });
    expect(heard).toEqual([]);
    engine.end(second, {
      ...{ startedNs: 12, finishedNs: 29, copyNs: 6, flushNs: 8 },
      dma: { ...NO_DMA, channels: [3] },
    });
    expect(heard).toEqual([
      expect.objectContaining({
        ...{
          status: 0,
          bytesDone: SIZE,
          bytesByCpu: 300,
          startedNs: 10,
          finishedNs: 30,
          copyNs: 6,
          flushNs: 9,
        },
      }),
    ]);
    expect(engine.cancelled).toEqual([]);
  });

  test.each([
    [1, 2],
    [2, 1],
  ])('has failed where part %d has, and stops the other one', (first, second) => {
    submitDivided(engine, job, 300, listener);
    engine.end(first, { status: -EIO, bytesDone: 0 });
    expect(engine.cancelled).toEqual([second]);
    expect(heard).toEqual([]);
    engine.end(second, { status: -ECANCELED, bytesDone: 77 });
    expect(heard).toEqual([expect.objectContaining({ status: -EIO, bytesDone: 77 })]);
  });

  test('has failed where the second part fails after the first has ended well', () => {
    submitDivided(engine, job, 300, listener);
    engine.end(1, { dma: { ...NO_DMA, channels: [3] } });
    engine.end(2, { status: -EIO, bytesDone: 0 });
    expect(heard).toEqual([
      expect.objectContaining({
        ...{ status: -EIO, bytesDone: 700 },
        dma: { ...NO_DMA, channels: [3] },
      }),
    ]);
  });

  test('says which channel failed', () => {
    submitDivided(engine, job, 300, listener);
    const dma = { ...NO_DMA, error: 'write', channels: [3], failedChannel: 3 } as const;
    engine.end(1, { status: -EIO, bytesDone: 0, dma: { ...dma, channels: [3] } });
    engine.end(2, { status: -ECANCELED });
    expect(heard).toEqual([expect.objectContaining({ status: -EIO, dma })]);
  });

  test('fails, once its front has stopped, where its rest is refused', () => {
    expect(submitDivided(engine, job, 300, listener)).toEqual([1, 2]);
    engine.end(2, { status: -ENOMEM, bytesDone: 0 });
    expect(engine.cancelled).toEqual([1]);
    expect(heard).toEqual([]);
    engine.end(1, { status: -ECANCELED, bytesDone: 50 });
    expect(heard).toEqual([expect.objectContaining({ status: -ENOMEM, bytesDone: 50 })]);
  });
});
