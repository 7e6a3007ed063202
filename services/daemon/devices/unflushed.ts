// SPDX-License-Identifier: Apache-2.0
import type { Device } from './device.ts';

/**
 * The devices that may have bytes which a power failure would take away, by what was written to them
 * since the host started. A whole device at a time: it only decides what a restart of the host leaves
 * to be run again.
 */
export class UnflushedDevices {
  readonly #handles = new Set<number>();
  readonly #all: boolean;

  /** @param all whether an earlier daemon may have written, since the host started, to any of them */
  constructor(all: boolean) {
    this.#all = all;
  }

  /** Something is about to write to it and leaves it unflushed. */
  add({ handle }: Device): void {
    this.#handles.add(handle);
  }

  /** Whether all that was written to a device outlives a power failure. */
  isPersistent({ handle, flushBasis }: Device): boolean {
    if (flushBasis === 'none') return false;
    // There the CPU's caches are kept, too.
    if (flushBasis === 'cpu_cache') return true;
    return !this.#all && !this.#handles.has(handle);
  }
}
