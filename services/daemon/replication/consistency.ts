// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Device } from '../devices/device.ts';
import type { Written } from '../devices/written.ts';
import { type Inconsistent, InconsistentRanges } from './inconsistent.ts';
import type { Replication } from './replication.ts';

/**
 * Which bytes are inconsistent now, and which are after a power failure. A write that was not flushed may
 * be lost then, and the inconsistent bytes before it come back.
 */
export class ConsistencyMap {
  /** Includes copies of inconsistent bytes, which are not in the journal. */
  readonly #now = new InconsistentRanges(() => {});
  readonly #afterPowerFailure: InconsistentRanges;

  /** @param changed receives each replication of which less is inconsistent after a power failure than before */
  constructor(changed: (replication: Replication) => void) {
    this.#afterPowerFailure = new InconsistentRanges(changed);
  }

  /** A replication's consistency has changed. */
  note(replication: Replication): void {
    this.#now.note(replication);
    this.#afterPowerFailure.note(replication);
  }

  /** What was left of a replication of an earlier daemon; later ones may have been restored before. */
  restore(replication: Replication, ranges: readonly ByteRange[]): void {
    this.#now.restore(replication, ranges);
    this.#afterPowerFailure.restore(replication, ranges);
  }

  /** Other work has written these bytes. Copies of inconsistent bytes are inconsistent, too. */
  written({ device, ranges, flush, source }: Written): void {
    const isRelevant = [this.#now.of(device), this.#afterPowerFailure.of(device)].some(
      ({ length }) => length > 0,
    );
    // Most devices have none.
    if (!isRelevant && (source === undefined || this.#now.of(source).length === 0)) return;
    const originOf = ({ sourceOffset, size }: Written['ranges'][number]) =>
      source === undefined || sourceOffset === undefined
        ? undefined
        : this.#now.firstIn(source, { offset: sourceOffset, size });
    // A copy may read what it writes: what was inconsistent before counts, too.
    const before = ranges.map(originOf);
    const durable = isDurable(device, flush);
    for (const [index, range] of ranges.entries()) {
      const origin = before[index] ?? originOf(range);
      if (origin !== undefined) {
        this.#now.copied(device, range, origin);
        continue;
      }
      this.#now.overwritten(device, range);
      if (durable) this.#afterPowerFailure.overwritten(device, range);
    }
  }

  /** Those of a device, in their order. */
  of(device: Device): readonly Inconsistent[] {
    return this.#now.of(device);
  }

  /** Whether there are inconsistent bytes that come from a replication. */
  has(replication: Replication): boolean {
    return this.#now.has(replication) || this.#afterPowerFailure.has(replication);
  }

  /** What of its destination a replication has left inconsistent after a power failure. */
  leftBy(replication: Replication): ByteRange[] {
    return this.#afterPowerFailure.rangesOf(replication);
  }
}

/** Whether what was written outlives a power failure, if anything on that device does. */
export function isDurable({ flushBasis }: Device, flush: boolean): boolean {
  return flush || flushBasis === 'none' || flushBasis === 'cpu_cache';
}
