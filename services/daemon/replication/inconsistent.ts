// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Device } from '../devices/device.ts';
import type { Replication } from './replication.ts';

/** A copy of bytes that a replication has written and not proven. */
export class InconsistentCopy {
  /** The transfer's: ids are in the order of acceptance, in which work that writes the same bytes runs. */
  readonly id: string;
  /** Whose bytes it has copied. */
  readonly replication: Replication;
  readonly destination: Device;
  /** A range around what it has written. */
  extent: ByteRange = { offset: 0, size: 0 };

  constructor(id: string, replication: Replication, destination: Device) {
    this.id = id;
    this.replication = replication;
    this.destination = destination;
  }
}

/** What has written inconsistent bytes. */
export type Writer = Replication | InconsistentCopy;

/** Bytes that a replication has written and not proven, or a copy of such bytes. */
export interface Inconsistent extends ByteRange {
  readonly writer: Writer;
}

/** The replication that inconsistent bytes come from. */
export function originOf(writer: Writer): Replication {
  return writer instanceof InconsistentCopy ? writer.replication : writer;
}

/** Identifies a device, whatever its name is after the next boot. */
type Memory = Pick<Device, 'kind' | 'identity'>;

/**
 * Into how many ranges other writes may cut those of a replication, and those of a device. A write that would
 * make more is ignored: more is then marked as inconsistent than is.
 */
export const MAX_PARTS = 1000;
export const MAX_RANGES = 20_000;

const NONE: readonly Inconsistent[] = [];

/**
 * The inconsistent ranges of each device: disjoint, in their order. Replications that write the same
 * bytes run one after the other, and each takes over the bytes of those before it.
 */
export class InconsistentRanges {
  readonly #byDevice = new Map<string, Inconsistent[]>();
  /** How many ranges of each replication there are, its copies included. */
  readonly #counts = new Map<Replication, number>();
  readonly #changed: (writer: Writer) => void;

  /** @param changed receives each writer whose bytes later writes have replaced */
  constructor(changed: (writer: Writer) => void) {
    this.#changed = changed;
  }

  /** A replication's consistency has changed: all of its destination is inconsistent, or nothing is. */
  note(replication: Replication): void {
    const { consistency } = replication.progress;
    if (consistency === 'unchanged') return;
    this.#replace(replication.destination, rangeOf(replication), {
      by: consistency === 'inconsistent' ? replication : undefined,
      // its own ranges too: it has them anew, or none
      isOlder: ({ id }) => id <= replication.id,
    });
  }

  /** What a writer of an earlier daemon left inconsistent; later writers may have been restored before. */
  restore(writer: Writer, ranges: readonly ByteRange[]): void {
    for (const range of ranges) {
      if (writer instanceof InconsistentCopy) writer.extent = joined(range, writer.extent);
      const isOlder = ({ id }: Writer) => id < writer.id;
      this.#replace(writer.destination, range, { by: writer, isOlder });
    }
  }

  /** Other work has written all of a range. */
  overwritten(device: Memory, range: ByteRange): void {
    const ranges = this.of(device);
    const { first, end } = overlapping(ranges, range);
    // A range that has bytes on both sides of it is cut in two.
    const [around] = ranges.slice(first, end);
    if (around !== undefined && end - first === 1 && isInside(range, around)) {
      const parts = this.#counts.get(originOf(around.writer)) ?? 0;
      if (parts >= MAX_PARTS || ranges.length >= MAX_RANGES) return;
    }
    this.#replace(device, range, { by: undefined, isOlder: () => true });
  }

  /** Inconsistent bytes are copied to a range. */
  copied(copy: InconsistentCopy, range: ByteRange): void {
    const device = copy.destination;
    // Parts would tell no more than the whole.
    if (this.covers(device, range)) return;
    const ranges = this.of(device);
    const { first } = overlapping(ranges, range);
    // At the limit, the range is joined with the one beside it.
    const near = ranges.length < MAX_RANGES ? undefined : (ranges[first] ?? ranges.at(-1));
    const written = near === undefined ? range : joined(range, near);
    copy.extent = joined(written, copy.extent);
    this.#replace(device, written, { by: copy, isOlder: () => true });
  }

  /** Whether all of a range is inconsistent. */
  covers(device: Memory, { offset, size }: ByteRange): boolean {
    const ranges = this.of(device);
    let at = offset;
    // Stops at the first gap: a range may cover all ranges of its device.
    for (let index = firstEndingAfter(ranges, offset); at < offset + size; index++) {
      const next = ranges[index];
      if (next === undefined || next.offset > at) return false;
      at = next.offset + next.size;
    }
    return true;
  }

  /** The replication that the first inconsistent bytes of a range come from, if it has any. */
  firstIn(device: Memory, { offset, size }: ByteRange): Replication | undefined {
    const ranges = this.of(device);
    const found = ranges[firstEndingAfter(ranges, offset)];
    return found && found.offset < offset + size ? originOf(found.writer) : undefined;
  }

  /** Those of a device, in their order. */
  of(device: Memory): readonly Inconsistent[] {
    // Each transfer asks nine times, and on most hosts there are none.
    if (this.#byDevice.size === 0) return NONE;
    return this.#byDevice.get(keyOf(device)) ?? [];
  }

  /** Whether there are inconsistent bytes that come from it. */
  has(replication: Replication): boolean {
    return this.#counts.has(replication);
  }

  /** The bytes of which it was the last to write. */
  rangesOf(writer: Writer): ByteRange[] {
    const ranges = this.of(writer.destination);
    const { first, end } = overlapping(ranges, extentOf(writer));
    return ranges
      .slice(first, end)
      .filter((range) => range.writer === writer)
      .map(({ offset, size }) => ({ offset, size }));
  }

  /**
   * Assigns a range to a new writer, or to none. Older writers lose it; newer ones keep their part of it.
   *
   * @param by the new writer; undefined if the bytes are consistent now
   */
  #replace(
    device: Memory,
    range: ByteRange,
    { by, isOlder }: { by: Writer | undefined; isOlder: (other: Writer) => boolean },
  ): void {
    if (range.size === 0) return;
    const ranges = this.#byDevice.get(keyOf(device)) ?? [];
    const { first, end } = overlapping(ranges, range);
    const before = ranges.slice(first, end);
    const kept = before.flatMap((each) => (isOlder(each.writer) ? outside(each, range) : [each]));
    const taken =
      by === undefined ? [] : gapsIn(range, kept).map((gap) => ({ ...gap, writer: by }));
    const after = [...kept, ...taken].sort((a, b) => a.offset - b.offset);
    ranges.splice(first, end - first, ...after);
    // New ranges are counted before old ones are removed: a replication that has both keeps its count above 0.
    for (const { writer } of after) this.#count(originOf(writer), 1);
    for (const { writer } of before) this.#count(originOf(writer), -1);
    if (ranges.length > 0) this.#byDevice.set(keyOf(device), ranges);
    else this.#byDevice.delete(keyOf(device));
    for (const other of new Set(before.map(({ writer }) => writer))) {
      if (other !== by) this.#changed(other);
    }
  }

  #count(replication: Replication, by: 1 | -1): void {
    const count = (this.#counts.get(replication) ?? 0) + by;
    if (count > 0) this.#counts.set(replication, count);
    else this.#counts.delete(replication);
  }
}

function keyOf({ kind, identity }: Memory): string {
  return `${kind} ${identity}`;
}

function rangeOf({ request }: Replication): ByteRange {
  return { offset: request.dst_offset, size: request.size };
}

function extentOf(writer: Writer): ByteRange {
  return writer instanceof InconsistentCopy ? writer.extent : rangeOf(writer);
}

/** The indexes of the ranges that overlap a range: of the first one, and of the one behind the last. */
function overlapping(
  ranges: readonly ByteRange[],
  { offset, size }: ByteRange,
): { first: number; end: number } {
  const first = firstEndingAfter(ranges, offset);
  let end = first;
  while ((ranges[end]?.offset ?? Number.POSITIVE_INFINITY) < offset + size) end++;
  return { first, end };
}

function isInside({ offset, size }: ByteRange, outer: ByteRange): boolean {
  return offset > outer.offset && offset + size < outer.offset + outer.size;
}

/** The smallest range that has all bytes of both. */
function joined(one: ByteRange, other: ByteRange): ByteRange {
  if (other.size === 0) return one;
  const offset = Math.min(one.offset, other.offset);
  return { offset, size: Math.max(one.offset + one.size, other.offset + other.size) - offset };
}

/** The parts of a range before and behind another one. */
function outside(range: Inconsistent, { offset, size }: ByteRange): Inconsistent[] {
  const end = range.offset + range.size;
  const { writer } = range;
  return [
    { offset: range.offset, size: offset - range.offset, writer },
    { offset: offset + size, size: end - offset - size, writer },
  ].filter((part) => part.size > 0);
}

/** The parts of a range that no other range covers. @param ranges the others, in their order */
function gapsIn({ offset, size }: ByteRange, ranges: readonly ByteRange[]): ByteRange[] {
  const gaps: ByteRange[] = [];
  let at = offset;
  for (const range of [...ranges, { offset: offset + size, size: 0 }]) {
    const end = Math.min(range.offset, offset + size);
    if (end > at) gaps.push({ offset: at, size: end - at });
    at = Math.max(at, range.offset + range.size);
  }
  return gaps;
}

/** The index of the first range that ends after an offset. */
function firstEndingAfter(ranges: readonly ByteRange[], offset: number): number {
  let from = 0;
  let to = ranges.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    const range = ranges[middle] as ByteRange;
    if (range.offset + range.size > offset) to = middle;
    else from = middle + 1;
  }
  return from;
}
