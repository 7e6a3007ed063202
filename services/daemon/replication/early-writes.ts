// SPDX-License-Identifier: Apache-2.0
import type { Written } from '../devices/written.ts';
import { isDurable } from './consistency.ts';
import { InconsistentRanges } from './inconsistent.ts';
import type { EarlierReplication } from './rows.ts';

/** How many ranges are kept. What is written beyond that overwrites nothing of what is read later. */
const MAX_WRITES = 1000;

/**
 * What was written before all replications of earlier daemons are read. Versions without rows of what is
 * inconsistent left replications that come with the history, and mark their ranges late.
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

  /** @returns what those writes have left of it; itself if that is all */
  leftOf(earlier: EarlierReplication): EarlierReplication {
    if (earlier.inconsistent.length === 0 || this.#count === 0) return earlier;
    const { replication } = earlier;
    let isCut = false;
    const left = new InconsistentRanges(() => {
      isCut = true;
    });
    left.restore(replication, earlier.inconsistent);
    for (const { device, ranges } of this.#writes) {
      for (const range of ranges) left.overwritten(device, range);
    }
    return isCut ? { ...earlier, inconsistent: left.rangesOf(replication) } : earlier;
  }
}
