// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { EngineName } from '../../base/vocabulary.ts';
import type { Transfer } from './transfer.ts';

/** Hears of what is worth counting. */
export interface TransferObserver {
  /** @param bytes that an engine has copied of it, beside those that this heard of before */
  progressed(transfer: Transfer, bytes: number, engine: EngineName): void;
  /** After the last bytes of it. */
  finished(transfer: Transfer): void;
}

/**
 * Counts and logs a finished transfer; not logged if its client is still waiting for a success, for
 * the line of that request says as much.
 */
export function reportEnd(
  { observer, log }: { observer: TransferObserver; log: FastifyBaseLogger },
  transfer: Transfer,
): void {
  observer.finished(transfer);
  const { id, origin, status, choice, bytesCompleted, timings, error, acknowledged } = transfer;
  if (!acknowledged && status === 'succeeded') return;
  log[error?.code === 'internal_error' ? 'error' : 'info'](
    {
      transfer: id,
      client: origin.client,
      ...origin.trace,
      operation: transfer.plan.operation,
      status,
      engine: choice.engine,
      bytes: bytesCompleted,
      total_ns: timings.total_ns,
      code: error?.code,
      detail: error?.message,
    },
    'transfer finished',
  );
}
