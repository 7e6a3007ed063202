// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';
import type { FastifyBaseLogger } from 'fastify';
import { StartError } from '../start-error.ts';
import { DoubtMark } from './doubt.ts';
import { FORMAT, FORMAT_KEY, Journal, type JournalObserver } from './journal.ts';
import { openStore } from './store.ts';

export interface OpenedJournal {
  journal: Journal;
  /** In the order of their keys. */
  rows: [key: string, value: string][];
  /**
   * Why rows may be older than what happened to the bytes; undefined where they are not. The mark
   * that says so stays until the journal is told to trust them again.
   */
  doubt: string | undefined;
}

/** @throws StartError where the journal in the state directory cannot be opened */
export async function openJournal(
  stateDir: string,
  log: FastifyBaseLogger,
  observer: JournalObserver,
): Promise<OpenedJournal> {
  const mark = await openMark(join(stateDir, 'journal.trust'));
  try {
    const doubtIt = () => mark.make();
    const { store, rows, damage } = await openStore(join(stateDir, 'journal'), doubtIt);
    try {
      checkFormat(stateDir, rows);
      if (damage !== undefined) {
        log.error({ damage }, 'journal: damaged; what is intact in it is used');
        // Where it showed only once the store was open, too.
        await mark.make();
      }
      const keys = rows.map(([key]) => key);
      const doubt = damage === undefined ? unwritten(mark) : 'its journal was damaged';
      const doubted = doubt !== undefined;
      const journal = new Journal({ store, mark, keys, doubted, log, observer });
      return { journal, rows, doubt };
    } catch (error) {
      await store.close();
      throw error;
    }
  } catch (error) {
    await mark.close();
    throw error;
  }
}

function unwritten(mark: DoubtMark): string | undefined {
  return mark.set ? 'its journal could not be written before the daemon ended' : undefined;
}

async function openMark(path: string): Promise<DoubtMark> {
  try {
    return await DoubtMark.open(path);
  } catch (error) {
    throw new StartError('failure', `cannot use ${path}: ${(error as Error).message}`);
  }
}

function checkFormat(stateDir: string, rows: OpenedJournal['rows']): void {
  const format = rows.find(([key]) => key === FORMAT_KEY)?.[1];
  if (format === undefined || format === FORMAT) return;
  throw new StartError(
    'failure',
    `the journal in ${stateDir} is of format ${format}, and this version reads ${FORMAT} only: use the version that wrote it`,
  );
}
