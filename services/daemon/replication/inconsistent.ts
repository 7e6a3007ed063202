// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Device } from '../devices/device.ts';
import type { Replication } from './replication.ts';

/** Bytes that a replication has begun to write and not proven, and no later one has written since. */
export interface Inconsistent extends ByteRange {
  readonly replication: Replication;
}

/** What a device is known by, whatever its name is after the next boot. */
type Memory = Pick<Device, 'kind' | 'identity'>;

/**
 * The inconsistent ranges of each device: disjoint, in their order. Replications that write the same
 * bytes run one after the other, and each takes over the bytes of those before it.
 */
export class InconsistentRanges {
  readonly #byDevice = new Map<string, Inconsistent[]>();
  /** How many ranges are left of each replication that has any. */
  readonly #counts = new Map<Replication, number>();

  /** To be called for each replication in the order of acceptance, and when its consistency changes. */
  note(replication: Replication): void {
    const { consistency } = replication.progress;
    if (consistency === 'inconsistent') this.#replace(replication, [replication]);
    if (consistency === 'consistent') this.#replace(replication, []);
  }

  /** Those of a device, in their order. */
  of(device: Memory): readonly Inconsistent[] {
    return this.#byDevice.get(keyOf(device)) ?? [];
  }

  /** Whether there are bytes of which it was the last to write. */
  has(replication: Replication): boolean {
    return this.#counts.has(replication);
  }

  /** Puts what is there now in the place of whatever there was of a replication's destination. */
  #replace({ destination, request }: Replication, now: readonly Replication[]): void {
    const { dst_offset: offset, size } = request;
    const key = keyOf(destination);
    const ranges = this.#byDevice.get(key) ?? [];
    const first = firstEndingAfter(ranges, offset);
    let end = first;
    while ((ranges[end]?.offset ?? Number.POSITIVE_INFINITY) < offset + size) end++;
    const covered = ranges.slice(first, end);
    const put = [
      ...covered.slice(0, 1).map((range) => between(range, range.offset, offset)),
      ...now.map((replication) => ({ offset, size, replication })),
      ...covered.slice(-1).map((range) => between(range, offset + size, range.offset + range.size)),
    ].filter((range) => range.size > 0);
    ranges.splice(first, end - first, ...put);
    // Counted first: a replication that gets what it had keeps its place.
    for (const { replication } of put) this.#count(replication, 1);
    for (const { replication } of covered) this.#count(replication, -1);
    if (ranges.length > 0) this.#byDevice.set(key, ranges);
    else this.#byDevice.delete(key);
  }

  #count(replication: Replication, by: 1 | -1): void {
    const count = (this.#counts.get(replication) ?? 0) + by;
    if (count > 0) this.#counts.set(replication, count);
    else this.#counts.delete(replication);
  }
}

export function keyOf({ kind, identity }: Memory): string {
  return `${kind} ${identity}`;
}

/** So much of a range as lies between two offsets; its size is not positive if that is nothing. */
function between({ replication }: Inconsistent, offset: number, end: number): Inconsistent {
  return { offset, size: end - offset, replication };
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
