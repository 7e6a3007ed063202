// SPDX-License-Identifier: Apache-2.0
import { failedCompletion } from './completions.ts';
import {
  COMPLETION_SIZE,
  type Completion,
  decodeCompletion,
  encodeJob,
  encodeSegments,
  JOB_SIZE,
  type Job,
  MAX_SEGMENTS,
  SEGMENT_SIZE,
} from './records.ts';
import { type Context, check, type Shim } from './shim.ts';

const MAX_JOBS = 64;
/** Of a job that is over when the call returns, in place of an error. */
const OVER = 1;

/**
 * Jobs on their way to the shim, which takes them all in one call: each call may wake a thread that
 * copies, and that costs more than copying a few kilobytes.
 */
export class JobBatch {
  readonly #shim: Shim;
  readonly #jobs = Buffer.alloc(MAX_JOBS * JOB_SIZE);
  readonly #segments = new Uint32Array((MAX_SEGMENTS * SEGMENT_SIZE) / 4);
  readonly #errors = new Int32Array(MAX_JOBS);
  readonly #over = Buffer.alloc(MAX_JOBS * COMPLETION_SIZE);
  #tags: number[] = [];
  #segmentCount = 0;

  constructor(shim: Shim) {
    this.#shim = shim;
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

  /**
   * Hands to the shim what there is, and is empty then.
   *
   * @returns the ends of those that the shim refused, or that are over already
   */
  send(context: Context): Completion[] {
    const tags = this.#tags;
    this.#tags = [];
    this.#segmentCount = 0;
    const [jobs, segments, errors, over] = [this.#jobs, this.#segments, this.#errors, this.#over];
    check(
      'dma_shim_submit_batch',
      this.#shim.submitBatch(context, jobs, tags.length, segments, errors, over),
    );
    const ends: Completion[] = [];
    for (const [index, tag] of tags.entries()) {
      const status = errors[index] as number;
      if (status === OVER) ends.push(decodeCompletion(over, index * COMPLETION_SIZE));
      else if (status < 0) ends.push(failedCompletion(tag, status));
    }
    return ends;
  }
}
