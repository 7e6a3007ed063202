// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Device } from '../devices/device.ts';
import type { Writing, Written } from '../devices/written.ts';
import {
  type Inconsistent,
  InconsistentCopy,
  InconsistentRanges,
  type Writer,
} from './inconsistent.ts';
import type { Replication } from './replication.ts';

/** The ranges that a copy makes inconsistent. */
export interface Mark {
  copy: InconsistentCopy;
  ranges: ByteRange[];
}

/**
 * Which bytes are inconsistent now, and which are after a power failure. A write that was not flushed may
 * be lost then, and the inconsistent bytes before it come back.
 */
export class ConsistencyMap {
  readonly #now = new InconsistentRanges(() => {});
  readonly #afterPowerFailure: InconsistentRanges;
  /** Copies that still have inconsistent bytes, by {@link nameOf}. */
  readonly #copies = new Map<string, InconsistentCopy>();
  readonly #changed: (writer: Writer) => void;

  /** @param changed receives each writer whose bytes that are inconsistent after a power failure have changed */
  constructor(changed: (writer: Writer) => void) {
    this.#changed = changed;
    this.#afterPowerFailure = new InconsistentRanges((writer) => this.#noteLeft(writer));
  }

  #noteLeft(writer: Writer): void {
    const isGone = writer instanceof InconsistentCopy && this.leftBy(writer).length === 0;
    if (isGone) this.#copies.delete(nameOf(writer.id, writer.replication));
    this.#changed(writer);
  }

  /** A replication's consistency has changed. */
  note(replication: Replication): void {
    this.#now.note(replication);
    this.#afterPowerFailure.note(replication);
  }

  /** What a writer of an earlier daemon left inconsistent; later writers may have been restored before. */
  restore(writer: Writer, ranges: readonly ByteRange[]): void {
    if (writer instanceof InconsistentCopy) {
      this.#copies.set(nameOf(writer.id, writer.replication), writer);
    }
    this.#now.restore(writer, ranges);
    this.#afterPowerFailure.restore(writer, ranges);
    // If later writers have overwritten all of a copy, its row is removed.
    if (ranges.length > 0 && this.leftBy(writer).length === 0) this.#noteLeft(writer);
  }

  /** The ranges that a copy will make inconsistent and that are not marked yet: to be marked before it writes. */
  marksOf(writing: Writing): Mark[] {
    const origins = this.#originsIn(writing);
    if (origins.length === 0) return [];
    const marks = new Map<Replication, Mark>();
    for (const { range, origin } of origins) {
      if (origin === undefined || writing.copy === undefined) continue;
      const isMarked = [this.#now, this.#afterPowerFailure].every((map) =>
        map.covers(writing.device, range),
      );
      if (isMarked) continue;
      const { id } = writing.copy;
      const copy =
        this.#copies.get(nameOf(id, origin)) ?? new InconsistentCopy(id, origin, writing.device);
      const mark = marks.get(origin) ?? { copy, ranges: this.leftBy(copy) };
      mark.ranges.push({ offset: range.offset, size: range.size });
      marks.set(origin, mark);
    }
    return [...marks.values()];
  }

  mark(marks: readonly Mark[]): void {
    for (const { copy, ranges } of marks) {
      this.#copies.set(nameOf(copy.id, copy.replication), copy);
      for (const range of ranges) {
        this.#now.copied(copy, range);
        this.#afterPowerFailure.copied(copy, range);
      }
      this.#changed(copy);
    }
  }

  /** Other work has written these bytes. Copies of inconsistent bytes are inconsistent, too. */
  written(written: Written): void {
    const { device, flush } = written;
    // Ranges that were read from an earlier version's journal after the copy had begun.
    this.mark(this.marksOf(written));
    const durable = isDurable(device, flush);
    for (const { range, origin } of this.#originsIn(written)) {
      if (origin !== undefined) continue;
      this.#now.overwritten(device, range);
      if (durable) this.#afterPowerFailure.overwritten(device, range);
    }
  }

  /** For each range, the replication whose inconsistent bytes a copy writes there. @returns [] if no byte is inconsistent */
  #originsIn(writing: Writing): Origin[] {
    const { device, copy } = writing;
    const isRelevant =
      (copy !== undefined && this.#now.of(copy.source).length > 0) ||
      this.#now.of(device).length > 0 ||
      this.#afterPowerFailure.of(device).length > 0;
    // Most devices have none.
    if (!isRelevant) return [];
    // A copy may read what it writes: what was inconsistent before counts, too.
    const own = new InconsistentRanges(() => {});
    const origins: Origin[] = [];
    // Only now: of 4096 segments they are made when somebody asks for them.
    for (const { offset, size, sourceOffset } of writing.ranges) {
      const range = { offset, size };
      if (copy === undefined || sourceOffset === undefined) {
        addOrigin(origins, range, undefined);
        continue;
      }
      const from = { offset: sourceOffset, size };
      const origin = this.#now.firstIn(copy.source, from) ?? own.firstIn(copy.source, from);
      if (origin !== undefined && copy.source.identity === device.identity) {
        own.copied(new InconsistentCopy(copy.id, origin, device), range);
      }
      addOrigin(origins, range, origin);
    }
    return origins;
  }

  /** Those of a device, in their order. */
  of(device: Device): readonly Inconsistent[] {
    return this.#now.of(device);
  }

  /** Whether there are inconsistent bytes that come from a replication. */
  has(replication: Replication): boolean {
    return this.#now.has(replication) || this.#afterPowerFailure.has(replication);
  }

  /** The ranges of a writer that are inconsistent after a power failure. */
  leftBy(writer: Writer): ByteRange[] {
    return this.#afterPowerFailure.rangesOf(writer);
  }
}

interface Origin {
  range: ByteRange;
  origin: Replication | undefined;
}

/** Joins adjacent ranges of the same origin. */
function addOrigin(origins: Origin[], range: ByteRange, origin: Replication | undefined): void {
  const last = origins.at(-1);
  const isBehind = last !== undefined && last.range.offset + last.range.size === range.offset;
  if (isBehind && last.origin === origin) last.range.size += range.size;
  else origins.push({ range, origin });
}

/** The key of a copy: the same transfer may have copied bytes of several replications. */
function nameOf(id: string, { id: replication }: Replication): string {
  return `${id} ${replication}`;
}

/** Whether what was written survives a power failure, if anything on that device does. */
export function isDurable({ flushBasis }: Device, flush: boolean): boolean {
  return flush || flushBasis === 'none' || flushBasis === 'cpu_cache';
}
