// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';

/** Bytes of a device that may be read, and written too if it says so. */
export interface Grant {
  /** Of the device, such as dax0.0. */
  name: string;
  /** Absent: of whatever device has that name; else of the one with this uuid only. */
  uuid?: string | undefined;
  /** The same of its physical address. */
  resource?: number | undefined;
  /** Absent: all of the device. In bytes. */
  ranges?: readonly ByteRange[] | undefined;
  access: 'ro' | 'rw';
}

/** What a device is known by beside its name; null if it has no such thing. */
export interface KnownDevice {
  readonly uuid: string | null;
  readonly resource: number | null;
}

/** The device that has a name now; undefined if there is none. */
export type FindDevice = (name: string) => KnownDevice | undefined;

/** Bytes [start, end). */
interface Interval {
  start: number;
  end: number;
}

/** What all grants together say of one device. */
interface Granted {
  /** The device that had the name when they were added up. */
  device: KnownDevice | undefined;
  readable: readonly Interval[];
  writable: readonly Interval[];
}

/** Which bytes of which devices a client may read, and which it may write. */
export class Grants {
  /** As they were given. */
  readonly all: readonly Grant[];
  readonly #grants = new Map<string, Grant[]>();
  readonly #find: FindDevice;
  readonly #granted = new Map<string, Granted>();

  /** @param grants what several say of one device adds up */
  constructor(grants: readonly Grant[], find: FindDevice) {
    this.all = grants;
    this.#find = find;
    for (const grant of grants) {
      const others = this.#grants.get(grant.name);
      if (others === undefined) this.#grants.set(grant.name, [grant]);
      else others.push(grant);
    }
  }

  /** Whether there is anything to read on the device, or to write. */
  knows(device: string): boolean {
    return this.#of(device) !== undefined;
  }

  /**
   * Whether all bytes of a range may be read, or written.
   *
   * @param offset, size whole numbers up to 2^53-1, whose sum may be more; no bytes are allowed
   *   if any byte of the device is
   */
  allow(device: string, { offset, size }: ByteRange, write: boolean): boolean {
    const granted = this.#of(device);
    const intervals = (write ? granted?.writable : granted?.readable) ?? [];
    if (intervals.length === 0) return false;
    if (size === 0) return true;
    const interval = lastStartingAtOrBefore(intervals, offset);
    // Subtracting cannot lose a digit, adding could.
    return interval !== undefined && offset < interval.end && size <= interval.end - offset;
  }

  /** What of a range may be read, or written, in its order. */
  readableIn(device: string, { offset, size }: ByteRange): ByteRange[] {
    const end = offset + size;
    return (this.#of(device)?.readable ?? [])
      .filter((interval) => interval.start < end && interval.end > offset)
      .map((interval) => {
        const start = Math.max(interval.start, offset);
        return { offset: start, size: Math.min(interval.end, end) - start };
      });
  }

  /** Undefined if no grant is about the device that has that name now. */
  #of(name: string): Granted | undefined {
    const named = this.#grants.get(name);
    if (named === undefined) return undefined;
    const device = this.#find(name);
    const before = this.#granted.get(name);
    if (before !== undefined && before.device === device) return before;
    const grants = named.filter((grant) => appliesTo(grant, device));
    if (grants.length === 0) return undefined;
    const writing = grants.filter(({ access }) => access === 'rw');
    const granted = { device, readable: merge(grants), writable: merge(writing) };
    this.#granted.set(name, granted);
    return granted;
  }
}

function appliesTo({ uuid, resource }: Grant, device: KnownDevice | undefined): boolean {
  return (
    (uuid === undefined || uuid === device?.uuid) &&
    (resource === undefined || resource === device?.resource)
  );
}

/** The same bytes in as few intervals as can be, in their order. */
function merge(grants: readonly Grant[]): Interval[] {
  const all: readonly ByteRange[] = [{ offset: 0, size: Number.POSITIVE_INFINITY }];
  const intervals = grants.flatMap(({ ranges = all }) =>
    ranges.map(({ offset, size }) => ({ start: offset, end: offset + size })),
  );
  const merged: Interval[] = [];
  for (const { start, end } of intervals.sort((a, b) => a.start - b.start)) {
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
