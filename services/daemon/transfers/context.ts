// SPDX-License-Identifier: Apache-2.0
import type { UnflushedDevices } from '../devices/unflushed.ts';
import type { Writing, Written } from '../devices/written.ts';
import type { EngineChooser } from '../engines/choice.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Journal } from '../journal/journal.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import type { ActiveTransfer } from './active.ts';
import type { Archive } from './archive.ts';
import type { Dependency } from './dependencies.ts';
import type { RunOptions } from './run.ts';
import type { Transfer } from './transfer.ts';

/** What a transfer needs of the daemon. */
export interface TransferContext extends RunOptions {
  chooser: EngineChooser;
  queue: WorkQueue;
  unflushed: UnflushedDevices;
  journal: Journal;
  clock: ElapsedClock;
  archive: Archive;
  /** Whether the daemon stops all that has not finished: nothing may start behind what has stopped. */
  readonly interrupting: boolean;
  /** The journal has it, before it starts: from now on it can be asked for. */
  accepted(active: ActiveTransfer): void;
  /** It has finished, or is left to the next daemon. Called before those that wait for its end and the event of it. */
  left(active: ActiveTransfer): void;
  /** It has finished, and nothing of it changes any more. */
  finished(transfer: Transfer): void;
  /**
   * A transfer is about to write, in its turn.
   *
   * @param waits whether it still waits for that: it may be stopped meanwhile
   * @returns once it may; undefined: it may now
   * @throws Problem why it must not
   */
  beforeWrite(writing: Writing, waits: () => boolean): Promise<void> | undefined;
  /** A transfer has written all of its destination; called before anybody else may write there. */
  written(written: Written): void;
  /** Has transfers outlive the daemon that one which does depends on. */
  keep(dependencies: readonly Dependency[]): void;
}
