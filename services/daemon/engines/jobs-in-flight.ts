// SPDX-License-Identifier: Apache-2.0
import { Slots } from '../../base/slots.ts';
import type { EngineName } from '../../base/vocabulary.ts';
import type { Completion, Job } from './records.ts';

/** More jobs than can be in flight; and what is left of a tag's 53 bits, to count jobs. */
const MAX_PLACES = 2 ** 20;
const MAX_SUBMITTED = 2 ** 32;

/** Receives how a job stands, and how it ended. */
export interface JobListener {
  /** @param bytesByCpu of a job that both engines share */
  progress?(bytesDone: number, bytesByCpu?: number): void;
  done(completion: Completion): void;
}

interface InFlight {
  tag: number;
  /** Holds the job's memory for as long as the shim may touch it. */
  job: Job;
  listener: JobListener;
  /**
   * All its bytes, in memory: none if it moves at the pace of a socket's other end, which says nothing
   * about how busy the engine is.
   */
  size: number;
  /** Those that are not copied yet, by its last report. */
  pending: number;
}

/** Jobs that have not ended: hands each of their completions to its listener. */
export class JobsInFlight {
  /** Bytes that are to be copied, and are not yet, by the jobs' last reports. */
  readonly pending: Record<EngineName, number> = { cpu: 0, dma: 0 };
  #jobs = new Slots<InFlight>();
  /** How many there have been, modulo {@link MAX_SUBMITTED}. */
  #submitted = 0;

  /** @returns the job's tag, by which its completions name it */
  add(job: Job, listener: JobListener): number {
    const size = job.descriptor === undefined ? job.segments.bytes : 0;
    const entry = { tag: 0, job, listener, size, pending: size };
    entry.tag = this.#nextTag(this.#jobs.add(entry));
    this.pending[job.engine] += size;
    return entry.tag;
  }

  /** The tags of jobs between a device and a socket. */
  *streamsOf(device: number): Generator<number> {
    for (const { tag, job } of this.#jobs) {
      const names = job.source === device || job.destination === device;
      if (job.descriptor !== undefined && names) yield tag;
    }
  }

  /** Does nothing with a completion of a job that has ended. */
  deliver(completion: Completion): void {
    const place = completion.tag % MAX_PLACES;
    const entry = this.#jobs.get(place);
    if (entry?.tag !== completion.tag) return;
    const pending = completion.done ? 0 : Math.max(0, entry.size - completion.bytesDone);
    this.pending[entry.job.engine] += pending - entry.pending;
    entry.pending = pending;
    if (completion.done) {
      this.#jobs.remove(place);
      entry.listener.done(completion);
    } else {
      entry.listener.progress?.(completion.bytesDone);
    }
  }

  /** Forgets all: their listeners hear no more. */
  clear(): void {
    this.#jobs = new Slots();
  }

  /** Says where a job's entry is, and is not given to another job while anybody may know it. */
  #nextTag(place: number): number {
    this.#submitted = (this.#submitted % MAX_SUBMITTED) + 1;
    return this.#submitted * MAX_PLACES + place;
  }
}
