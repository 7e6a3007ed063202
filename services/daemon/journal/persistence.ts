// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { Storage } from '../engines/engine.ts';

/** Warns if what the journal syncs may not survive a loss of power. @returns what it was given */
export function checkPersistence(storage: Storage, log: FastifyBaseLogger): Storage {
  if (storage.persistence === 'backing_store') return storage;
  const remedy = 'put DMAD_STATE_DIR on ext4, xfs, btrfs, f2fs or zfs';
  log.warn(storage, `the journal may not survive a loss of power: ${remedy}`);
  return storage;
}
