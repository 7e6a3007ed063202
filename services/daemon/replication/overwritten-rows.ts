// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Journal } from '../journal/journal.ts';
import { InconsistentCopy, type Writer } from './inconsistent.ts';
import { copyRows, inconsistentRows } from './rows.ts';

/** How long rows are collected before they are written, in milliseconds: there may be many writes. */
const DELAY_MS = 1000;

/**
 * Writes to the journal what durable writes have left of inconsistent ranges. After a crash before that, more
 * is marked as inconsistent than is. Ranges that a replication has written are in the journal by then.
 */
export class OverwrittenRows {
  readonly #journal: Journal;
  readonly #remainingOf: (writer: Writer) => ByteRange[];
  /** Writers whose inconsistent ranges differ from their rows. */
  readonly #changed = new Set<Writer>();
  #timer: NodeJS.Timeout | undefined;

  /** @param remainingOf what is still inconsistent of what a replication or a copy has written */
  constructor(journal: Journal, remainingOf: (writer: Writer) => ByteRange[]) {
    this.#journal = journal;
    this.#remainingOf = remainingOf;
  }

  /** A writer's inconsistent ranges have changed. An unfinished replication writes them when it ends. */
  note(writer: Writer): void {
    if (!(writer instanceof InconsistentCopy) && !writer.finished) return;
    this.#changed.add(writer);
    this.#timer ??= setTimeout(() => this.flush(), DELAY_MS).unref();
  }

  /** The writer's rows are removed. */
  forget(writer: Writer): void {
    this.#changed.delete(writer);
  }

  /** Hands over to the journal what is still to be written. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = [...this.#changed].flatMap((writer) => {
      const remaining = this.#remainingOf(writer);
      const isCopy = writer instanceof InconsistentCopy;
      return [...(isCopy ? copyRows(writer, remaining) : inconsistentRows(writer, remaining))];
    });
    this.#changed.clear();
    if (rows.length > 0) this.#journal.writeSoon(new Map(rows));
  }
}
