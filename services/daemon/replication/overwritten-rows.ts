// SPDX-License-Identifier: Apache-2.0
import type { ByteRange } from '../../base/byte-range.ts';
import type { Journal } from '../journal/journal.ts';
import type { Replication } from './replication.ts';
import { inconsistentRows } from './rows.ts';

/** How soon the journal has it, in milliseconds: there may be many writes. */
const DELAY_MS = 1000;

/**
 * Writes to the journal what durable writes have left of inconsistent ranges. A crash before leaves more of
 * them than is inconsistent; if a replication has written there, the journal has that by now.
 */
export class OverwrittenRows {
  readonly #journal: Journal;
  readonly #left: (replication: Replication) => ByteRange[];
  /** Those of which less is inconsistent than the journal has. */
  readonly #changed = new Set<Replication>();
  #timer: NodeJS.Timeout | undefined;

  /** @param left what is still inconsistent of a replication */
  constructor(journal: Journal, left: (replication: Replication) => ByteRange[]) {
    this.#journal = journal;
    this.#left = left;
  }

  /** Less of a replication is inconsistent than before. One that is not over writes it at its end. */
  note(replication: Replication): void {
    if (!replication.over) return;
    this.#changed.add(replication);
    this.#timer ??= setTimeout(() => this.flush(), DELAY_MS).unref();
  }

  /** It has no rows any more. */
  forget(replication: Replication): void {
    this.#changed.delete(replication);
  }

  /** Hands to the journal what it has not been given yet. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = [...this.#changed].flatMap((replication) => [
      ...inconsistentRows(replication, this.#left(replication)),
    ]);
    this.#changed.clear();
    if (rows.length > 0) this.#journal.writeSoon(new Map(rows));
  }
}
