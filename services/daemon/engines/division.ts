// SPDX-License-Identifier: Apache-2.0

import { SegmentList } from '../../base/segments.ts';
import type { Engine } from './engine.ts';
import type { JobListener } from './jobs-in-flight.ts';
import type { Completion, Job } from './records.ts';

type Submitter = Pick<Engine, 'submit' | 'cancel'>;

/**
 * Starts a job of one segment on both engines: DMA copies the front, the CPU the last `cpuBytes`.
 * Where one of them fails the other one is stopped, and the job has failed.
 *
 * @param job without checksums: there would be two of them
 * @param listener hears of both as of one
 * @returns the tags by which to cancel it
 */
export function submitDivided(
  engine: Submitter,
  job: Job,
  cpuBytes: number,
  listener: JobListener,
): number[] {
  const { src_offset, dst_offset, size } = job.segments.get(0);
  const front = size - cpuBytes;
  const parts = [
    { engine: 'dma', segment: { src_offset, dst_offset, size: front } },
    {
      engine: 'cpu',
      segment: { src_offset: src_offset + front, dst_offset: dst_offset + front, size: cpuBytes },
    },
  ] as const;
  const tags: number[] = [];
  const progress = parts.map(() => 0);
  const ends: Completion[] = [];
  let failed: Completion | undefined;

  const done = (index: number, completion: Completion) => {
    ends[index] = completion;
    if (completion.status !== 0 && failed === undefined) {
      failed = completion;
      for (const tag of tags) if (tag !== completion.tag) engine.cancel(tag);
    }
    const [dma, cpu] = ends;
    if (dma !== undefined && cpu !== undefined) listener.done(merge(dma, cpu, failed));
  };
  for (const [index, { engine: name, segment }] of parts.entries()) {
    const tag = engine.submit(
      { ...job, engine: name, segments: SegmentList.of(segment) },
      {
        progress: (bytesDone) => {
          progress[index] = bytesDone;
          const [byDma = 0, byCpu = 0] = progress;
          listener.progress?.(byDma + byCpu, byCpu);
        },
        done: (completion) => {
          progress[index] = completion.bytesDone;
          done(index, completion);
        },
      },
    );
    tags.push(tag);
  }
  return tags;
}

function merge(dma: Completion, cpu: Completion, failed: Completion | undefined): Completion {
  return {
    ...(failed ?? dma),
    tag: dma.tag,
    bytesDone: dma.bytesDone + cpu.bytesDone,
    bytesByCpu: cpu.bytesDone,
    startedNs: Math.min(dma.startedNs, cpu.startedNs),
    finishedNs: Math.max(dma.finishedNs, cpu.finishedNs),
    copyNs: Math.max(dma.copyNs, cpu.copyNs),
    flushNs: Math.max(dma.flushNs, cpu.flushNs),
    dma: failed === cpu ? { ...dma.dma, error: 'none', failedChannel: undefined } : dma.dma,
  };
}
