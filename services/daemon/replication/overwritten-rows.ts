// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Journal } from '../journal/journal.ts';
import { InconsistentCopy, type Writer } from './inconsistent.ts';
import { copyRows, inconsistentRows } from './rows.ts';

/** How soon the journal has it, in milliseconds: there may be many writes. */
const DELAY_MS = 1000;

/**
 * Writes to the journal what durable writes have left of inconsistent ranges. A crash before leaves more of
 * them than is inconsistent; if a replication has written there, the journal has that by now.
 */
export class OverwrittenRows {
  readonly #journal: Journal;
  readonly #left: (writer: Writer) => ByteRange[];
  /** Those of which not the same is inconsistent as the journal has. */
  readonly #changed = new Set<Writer>();
  #timer: NodeJS.Timeout | undefined;

  /** @param left what is still inconsistent of what a replication or a copy has written */
  constructor(journal: Journal, left: (writer: Writer) => ByteRange[]) {
    this.#journal = journal;
    this.#left = left;
  }

  /** Other bytes of it are inconsistent than before. A replication that is not over writes it at its end. */
  note(writer: Writer): void {
    if (!(writer instanceof InconsistentCopy) && !writer.over) return;
    this.#changed.add(writer);
    this.#timer ??= setTimeout(() => this.flush(), DELAY_MS).unref();
  }

  /** It has no rows any more. */
  forget(writer: Writer): void {
    this.#changed.delete(writer);
  }

  /** Hands to the journal what it has not been given yet. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = [...this.#changed].flatMap((writer) => {
      const left = this.#left(writer);
      const isCopy = writer instanceof InconsistentCopy;
      return [...(isCopy ? copyRows(writer, left) : inconsistentRows(writer, left))];
    });
    this.#changed.clear();
    if (rows.length > 0) this.#journal.writeSoon(new Map(rows));
  }
}
