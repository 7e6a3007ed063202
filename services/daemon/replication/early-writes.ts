// SPDX-License-Identifier: Apache-2.0
import type { Written } from '../devices/written.ts';
import { isDurable } from './consistency.ts';
import { InconsistentRanges } from './inconsistent.ts';
import type { EarlierReplication } from './read-rows.ts';

/** How many ranges are kept. Later writes are ignored: more stays marked as inconsistent than is. */
const MAX_WRITES = 1000;

/**
 * What was written before all replications of earlier daemons are read. Replications of versions that wrote
 * no rows of inconsistent ranges are read with the history, so that their ranges are marked late.
 */
export class EarlyWrites {
  #writes: Pick<Written, 'device' | 'ranges'>[] = [];
  #count = 0;

  /** What a copy has written may be inconsistent itself. */
  note(written: Written): void {
    const { device, flush, copy } = written;
    if (copy !== undefined || !isDurable(device, flush)) return;
    const { ranges } = written;
    if (this.#count + ranges.length > MAX_WRITES) return;
    this.#count += ranges.length;
    this.#writes.push({ device, ranges });
  }

  /** @returns it without the ranges that those writes have overwritten; itself if they overwrote none */
  remainderOf(earlier: EarlierReplication): EarlierReplication {
    if (earlier.inconsistent.length === 0 || this.#count === 0) return earlier;
    const { replication } = earlier;
    let isCut = false;
    const remaining = new InconsistentRanges(() => {
      isCut = true;
    });
    remaining.restore(replication, earlier.inconsistent);
    for (const { device, ranges } of this.#writes) {
      for (const range of ranges) remaining.overwritten(device, range);
    }
    return isCut ? { ...earlier, inconsistent: remaining.rangesOf(replication) } : earlier;
  }
}
