// SPDX-License-Identifier: Apache-2.0
import {
  encodeJob,
  encodeSegments,
  JOB_SIZE,
  type Job,
  MAX_SEGMENTS,
  SEGMENT_SIZE,
} from './records.ts';
import { type Context, check, type Shim } from './shim.ts';

const MAX_JOBS = 64;

/**
 * Jobs on their way to the shim, which takes them all in one call: each call wakes a thread that
 * copies, and that costs more than copying a few kilobytes.
 */
export class JobBatch {
  readonly #shim: Shim;
  readonly #refused: (tag: number, status: number) => void;
  readonly #jobs = Buffer.alloc(MAX_JOBS * JOB_SIZE);
  readonly #segments = new Uint32Array((MAX_SEGMENTS * SEGMENT_SIZE) / 4);
  readonly #errors = new Int32Array(MAX_JOBS);
  #tags: number[] = [];
  #segmentCount = 0;

  /** @param refused is told each job that the shim refuses, and its negative errno */
  constructor(shim: Shim, refused: (tag: number, status: number) => void) {
    this.#shim = shim;
    this.#refused = refused;
  }

  get size(): number {
    return this.#tags.length;
  }

  /** Whether there is room for a job. */
  takes({ segments }: Job): boolean {
    return this.size < MAX_JOBS && this.#segmentCount + segments.length <= MAX_SEGMENTS;
  }

  /** @param job for which there is room, with the shim's handles, and without memory of its own */
  add(tag: number, job: Job): void {
    encodeJob(this.#jobs, tag, job, this.size * JOB_SIZE);
    encodeSegments(this.#segments, job.segments, this.#segmentCount);
    this.#segmentCount += job.segments.length;
    this.#tags.push(tag);
  }

  /** Hands to the shim what there is, and is empty then. */
  send(context: Context): void {
    const tags = this.#tags;
    this.#tags = [];
    this.#segmentCount = 0;
    check(
      'dma_shim_submit_batch',
      this.#shim.submitBatch(context, this.#jobs, tags.length, this.#segments, this.#errors),
    );
    for (const [index, tag] of tags.entries()) {
      const status = this.#errors[index] as number;
      if (status < 0) this.#refused(tag, status);
    }
  }
}
