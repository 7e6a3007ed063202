// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../devices/sysfs.ts';

/** Bytes of a device that may be read, and written too where it says so. */
export interface Grant {
  /** Of the device, such as dax0.0. */
  name: string;
  /** Absent: all of the device. In bytes. */
  ranges?: readonly ByteRange[] | undefined;
  access: 'ro' | 'rw';
}

/** Bytes [start, end). */
interface Interval {
  start: number;
  end: number;
}

/** Which bytes of which devices a client may read, and which it may write. */
export class Grants {
  readonly #readable = new Map<string, Interval[]>();
  readonly #writable = new Map<string, Interval[]>();

  /** @param grants what several say of one device adds up */
  constructor(grants: readonly Grant[]) {
    for (const { name, ranges, access } of grants) {
      const intervals = ranges?.map(({ offset, size }) => ({ start: offset, end: offset + size }));
      const granted = intervals ?? [{ start: 0, end: Number.POSITIVE_INFINITY }];
      add(this.#readable, name, granted);
      if (access === 'rw') add(this.#writable, name, granted);
    }
    for (const devices of [this.#readable, this.#writable]) {
      for (const [name, intervals] of devices) devices.set(name, merge(intervals));
    }
  }

  /** Whether there is anything to read on the device, or to write. */
  knows(device: string): boolean {
    return this.#readable.has(device);
  }

  /**
   * Whether all bytes of a range may be read, or written.
   *
   * @param offset, size whole numbers up to 2^53-1, whose sum may be more; no bytes are allowed
   *   where any byte of the device is
   */
  allow(device: string, { offset, size }: ByteRange, write: boolean): boolean {
    const intervals = (write ? this.#writable : this.#readable).get(device);
    if (intervals === undefined || intervals.length === 0) return false;
    if (size === 0) return true;
    const interval = lastStartingAtOrBefore(intervals, offset);
    // Subtracting cannot lose a digit, adding could.
    return interval !== undefined && offset < interval.end && size <= interval.end - offset;
  }
}

function add(devices: Map<string, Interval[]>, name: string, intervals: Interval[]): void {
  devices.set(name, [...(devices.get(name) ?? []), ...intervals]);
}

/** The same bytes in as few intervals as can be, in their order. */
function merge(intervals: readonly Interval[]): Interval[] {
  const merged: Interval[] = [];
  for (const { start, end } of [...intervals].sort((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

function lastStartingAtOrBefore(
  intervals: readonly Interval[],
  offset: number,
): Interval | undefined {
  let from = 0;
  let to = intervals.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if ((intervals[middle] as Interval).start <= offset) from = middle + 1;
    else to = middle;
  }
  return intervals[from - 1];
}
