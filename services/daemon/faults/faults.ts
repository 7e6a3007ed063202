// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import type { Job } from '../engines/records.ts';

export const FAULT_KINDS = [
  'media_error',
  'slow',
  'device_gone',
  'verify_mismatch',
  'hang',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** What is to go wrong, where, and how often. */
export interface Fault {
  id: string;
  kind: FaultKind;
  /** The engine's name for the device. */
  handle: number;
  deviceName: string;
  offset: number;
  size: number;
  /** How often it still strikes. */
  count: number;
  /** Of `slow`. */
  delayMs: number;
}

/** A fault that strikes a job. */
export interface Strike {
  kind: FaultKind;
  delayMs: number;
  /** The first segment of the job that it touches. */
  segment: number;
}

/** The faults that are set, the oldest first. */
export class Faults {
  readonly #faults = new Map<string, Fault>();
  readonly #struck: Record<FaultKind, number>;
  #onCleared: () => void = () => {};

  constructor() {
    this.#struck = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as never;
  }

  list(): readonly Fault[] {
    return [...this.#faults.values()];
  }

  /** How many jobs each kind has struck. */
  get struck(): Readonly<Record<FaultKind, number>> {
    return this.#struck;
  }

  get size(): number {
    return this.#faults.size;
  }

  add(fault: Omit<Fault, 'id'>): Fault {
    const added = { ...fault, id: randomUUID() };
    this.#faults.set(added.id, added);
    return added;
  }

  /** Removes all; jobs that hang go on. */
  clear(): void {
    this.#faults.clear();
    this.#onCleared();
  }

  /** @param hear is called when all have been removed */
  onCleared(hear: () => void): void {
    this.#onCleared = hear;
  }

  /** The oldest fault that a job touches, which is one strike less from now on. */
  strike(job: Job): Strike | undefined {
    for (const fault of this.#faults.values()) {
      // Without a comparison nobody would see a mismatch.
      if (fault.kind === 'verify_mismatch' && !job.verify) continue;
      const segment = job.segments.findIndex((...segment) => touches(fault, job, ...segment));
      if (segment < 0) continue;
      if (--fault.count === 0) this.#faults.delete(fault.id);
      this.#struck[fault.kind]++;
      return { kind: fault.kind, delayMs: fault.delayMs, segment };
    }
    return undefined;
  }
}

function touches(fault: Fault, job: Job, from: number, to: number, size: number): boolean {
  return (
    (job.source === fault.handle && overlaps(fault, from, size)) ||
    (job.destination === fault.handle && overlaps(fault, to, size))
  );
}

function overlaps({ offset, size }: Fault, from: number, length: number): boolean {
  return from < offset + size && offset < from + length;
}
