// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { FastifyBaseLogger } from 'fastify';
import { StartError } from '../../base/start-error.ts';
import { syncDirectory } from '../../base/sync-directory.ts';
import { BATCH_KEY, readBatch } from './batch-row.ts';
import { DoubtMark } from './doubt.ts';
import { FORMAT_KEY, formatProblem, writerOf } from './format.ts';
import { Journal, type JournalObserver } from './journal.ts';
import { openStore } from './store.ts';
import type { StoredRows } from './stored-rows.ts';
import { Watermark } from './watermark.ts';

export const DAMAGED = 'its journal was damaged';

export interface OpenedJournal {
  journal: Journal;
  rows: StoredRows;
  /**
   * Why rows may be older than what happened to the bytes, as far as that is known before all have
   * been read. The mark that says so stays until the journal is told to trust them again.
   */
  doubt: string | undefined;
  /** The format that the last one to write to it knew. */
  writer: number;
}

/** @throws StartError if the journal in the state directory cannot be opened */
export async function openJournal(
  stateDir: string,
  log: FastifyBaseLogger,
  observer: JournalObserver,
): Promise<OpenedJournal> {
  const opened: { close(): Promise<void> }[] = [];
  const keep = <T extends { close(): Promise<void> }>(one: T): T => {
    opened.unshift(one);
    return one;
  };
  try {
    const mark = keep(await openFile(join(stateDir, 'journal.trust'), DoubtMark.open));
    const watermark = keep(await openFile(join(stateDir, 'journal.committed'), Watermark.open));
    const marked = mark.set;
    const doubtIt = () => mark.make();
    const { store, rows } = await openStore(join(stateDir, 'journal'), doubtIt);
    keep(store);
    const head = new Map(await rows.get([FORMAT_KEY, BATCH_KEY]));
    const problem = formatProblem(head.get(FORMAT_KEY));
    if (problem !== undefined) {
      throw new StartError('failure', `the journal in ${stateDir} ${problem}`);
    }
    const { number: batch, uncommitted, spoilt } = readBatch(head, watermark.value);
    if (rows.torn && spoilt === undefined && batch >= (watermark.value ?? 0)) {
      // The last batch that was synced is there, so nothing that anybody relied on is missing.
      log.info('journal: what was being written when the daemon ended is lost, as it may be');
      rows.excuseTorn();
      if (!marked) await mark.clear();
    }
    const harm = rows.damage ?? spoilt;
    if (harm !== undefined) {
      log.error({ damage: harm }, 'journal: damaged; what is intact in it is used');
      // Some damage shows only once the store is open.
      await mark.make();
    }
    // From now on all that is there counts, as far as the mark allows.
    if (spoilt !== undefined) await watermark.write(batch);
    syncDirectory(stateDir);
    const doubt = harm === undefined ? unwritten(mark) : DAMAGED;
    const doubted = doubt !== undefined;
    const journal = new Journal({ store, mark, watermark, batch, doubted, log, observer });
    if (uncommitted.size > 0) {
      log.warn(
        { rows: uncommitted.size },
        'journal: rows that were never acknowledged are removed',
      );
      journal.remove(uncommitted);
    }
    const writer = writerOf(head.get(FORMAT_KEY));
    return { journal, rows: rows.without(uncommitted), doubt, writer };
  } catch (error) {
    for (const one of opened) await one.close();
    throw error;
  }
}

function unwritten(mark: DoubtMark): string | undefined {
  return mark.set ? 'its journal could not be written before the daemon ended' : undefined;
}

async function openFile<T>(path: string, open: (path: string) => Promise<T>): Promise<T> {
  try {
    return await open(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const remedy = code === 'ENOSPC' ? '; free some space' : '';
    throw new StartError('failure', `cannot use ${path}: ${message}${remedy}`);
  }
}
