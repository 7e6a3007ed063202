// SPDX-License-Identifier: Apache-2.0
import type { Client } from '../../http/access/client.ts';
import type { Viewer } from '../../http/access/visibility.ts';
import type { Device } from '../devices/device.ts';
import type { InconsistentRanges } from '../devices/schema.ts';
import type { Writing, Written } from '../devices/written.ts';
import type { Journal } from '../journal/journal.ts';
import type { ReplicationHistory } from './history.ts';
import type { OverwrittenRows } from './overwritten-rows.ts';
import { copyRows } from './rows.ts';
import { shownRanges } from './shown-ranges.ts';
import type { ReplicationStore } from './store.ts';

/** Which bytes of the devices are inconsistent, and what becomes of that as other work writes. */
export class InconsistentBytes {
  readonly #journal: Journal;
  readonly #store: ReplicationStore;
  readonly #overwritten: OverwrittenRows;
  readonly #history: ReplicationHistory;

  constructor(
    journal: Journal,
    store: ReplicationStore,
    overwritten: OverwrittenRows,
    history: ReplicationHistory,
  ) {
    this.#journal = journal;
    this.#store = store;
    this.#overwritten = overwritten;
    this.#history = history;
  }

  /** See {@link shownRanges}. */
  rangesOf(device: Device, viewer: Viewer & Pick<Client, 'grants'>): InconsistentRanges {
    return shownRanges(device, this.#store.inconsistentRanges(device), viewer);
  }

  /** How many bytes of a device are inconsistent. */
  bytesOf(device: Device): number {
    return this.#store.inconsistentRanges(device).reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * A copy is about to write. Copies of inconsistent bytes are inconsistent, too, even if the copy fails.
   *
   * @param waits whether the copy is still going to write
   * @returns once the journal has that; undefined if the journal needs no new row
   * @throws Problem the journal's error: then the copy must not write
   */
  copying(writing: Writing, waits: () => boolean): Promise<void> | undefined {
    const marks = this.#store.marksOf(writing);
    if (marks.length === 0) return undefined;
    const rows = new Map(marks.flatMap(({ copy, ranges }) => [...copyRows(copy, ranges)]));
    // The copy waits even if the journal takes long.
    const accepted = this.#journal.accept(rows, () => {});
    return accepted.then(() => {
      if (waits()) this.#store.mark(marks);
      // The copy was stopped meanwhile, and later work may have written there.
      else for (const { copy } of marks) this.#overwritten.note(copy);
    });
  }

  /** Other work has written these bytes: they are no longer inconsistent, unless it copied inconsistent bytes. */
  written(written: Written): void {
    this.#history.written(written);
    this.#store.written(written);
  }
}
