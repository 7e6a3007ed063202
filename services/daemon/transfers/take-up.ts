// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { OpenedJournal } from '../journal/open.ts';
import { readRecords } from './record.ts';
import { type Recovered, type RecoveryOptions, recover } from './recovery.ts';
import type { TransferService } from './service.ts';

/**
 * Lets the service take up what the journal says of an earlier daemon.
 *
 * @returns once what becomes of it is in the journal
 */
export async function takeUp(
  transfers: TransferService,
  { journal, rows, doubt }: OpenedJournal,
  { inventory, chooser, clock }: Omit<RecoveryOptions, 'doubt'>,
  log: FastifyBaseLogger,
): Promise<void> {
  // Taken away, for they are not needed again.
  const records = readRecords(rows.splice(0), (key) => {
    log.error({ key }, 'journal: a row that cannot be read is left out');
    journal.remove([key]);
  });
  const left = records.map((record) => recover(record, { inventory, chooser, doubt, clock }));
  const count = (kind: Recovered['kind']) => left.filter((one) => one.kind === kind).length;
  log.info(
    { over: count('over'), again: count('again'), interrupted: count('interrupted') },
    'journal: transfers of an earlier daemon',
  );
  await transfers.takeUp(left);
  journal.trust();
}
