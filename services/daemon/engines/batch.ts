// SPDX-License-Identifier: Apache-2.0

import { constants } from 'node:os';
import { type Context, check, type Shim } from '../../base/native/shim.ts';
import { MAX_SEGMENTS } from '../../base/vocabulary.ts';
import { failedCompletion } from './completions.ts';
import type { OpenedDevices } from './opened-devices.ts';
import {
  COMPLETION_SIZE,
  type Completion,
  decodeCompletion,
  encodeJob,
  encodeSegments,
  JOB_SIZE,
  type Job,
  SEGMENT_SIZE,
  SUBMIT_COMPLETED,
  withTimeout,
} from './records.ts';

const MAX_JOBS = 64;

/**
 * Jobs on their way to the shim, which takes them all in one call: each call may wake a thread that
 * copies, and that costs more than copying a few kilobytes.
 */
export class JobBatch {
  readonly #shim: Shim;
  readonly #devices: OpenedDevices;
  /** With their tags. */
  #waiting: { tag: number; job: Job }[] = [];
  readonly #jobs = Buffer.alloc(MAX_JOBS * JOB_SIZE);
  readonly #segments = new Uint32Array((MAX_SEGMENTS * SEGMENT_SIZE) / 4);
  readonly #errors = new Int32Array(MAX_JOBS);
  readonly #over = Buffer.alloc(MAX_JOBS * COMPLETION_SIZE);
  #segmentCount = 0;

  constructor(shim: Shim, devices: OpenedDevices) {
    this.#shim = shim;
    this.#devices = devices;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Whether there is room for a job. */
  takes({ segments }: Job): boolean {
    return this.size < MAX_JOBS && this.#segmentCount + segments.length <= MAX_SEGMENTS;
  }

  /** Whether a job that is there names a device. */
  names(device: number): boolean {
    return this.#waiting.some(
      ({ job: { source, destination } }) => source === device || destination === device,
    );
  }

  /** @param job for which there is room, and without memory of its own */
  add(tag: number, job: Job): void {
    this.#waiting.push({ tag, job });
    this.#segmentCount += job.segments.length;
  }

  /** Takes a job out again. @returns whether it was there: the shim has not seen it */
  remove(tag: number): boolean {
    const index = this.#waiting.findIndex((waiting) => waiting.tag === tag);
    if (index < 0) return false;
    const [removed] = this.#waiting.splice(index, 1);
    this.#segmentCount -= removed?.job.segments.length ?? 0;
    return true;
  }

  /** Changes a job's timeout. @returns whether it was there: the shim has not seen it */
  setTimeout(tag: number, timeoutMs: number | undefined): boolean {
    const found = this.#waiting.find((waiting) => waiting.tag === tag);
    if (found === undefined) return false;
    found.job = withTimeout(found.job, timeoutMs);
    return true;
  }

  /**
   * Hands to the shim what there is, and is empty then.
   *
   * @returns the ends of those that are over already: brief ones, and those that the shim refused or
   *   whose devices were closed meanwhile
   */
  send(context: Context): Completion[] {
    const ends: Completion[] = [];
    const tags: number[] = [];
    let segments = 0;
    for (const { tag, job } of this.#waiting) {
      const known = this.#devices.forShim(job);
      if (known === undefined) {
        ends.push(failedCompletion(tag, -constants.errno.ENXIO));
        continue;
      }
      encodeJob(this.#jobs, tag, known, tags.length * JOB_SIZE);
      encodeSegments(this.#segments, job.segments, segments);
      segments += job.segments.length;
      tags.push(tag);
    }
    this.#waiting = [];
    this.#segmentCount = 0;
    if (tags.length > 0) this.#submit(context, tags.length);
    for (const [index, tag] of tags.entries()) {
      const status = this.#errors[index] as number;
      if (status === SUBMIT_COMPLETED)
        ends.push(decodeCompletion(this.#over, index * COMPLETION_SIZE));
      else if (status < 0) ends.push(failedCompletion(tag, status));
    }
    return ends;
  }

  #submit(context: Context, count: number): void {
    const [jobs, segments, errors, over] = [this.#jobs, this.#segments, this.#errors, this.#over];
    const status = this.#shim.submitBatch(context, jobs, count, segments, errors, over);
    check('dma_shim_submit_batch', status);
  }
}
