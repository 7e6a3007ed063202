// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { Transfer } from './transfer.ts';

/** Hears of what is worth counting. */
export interface TransferObserver {
  /** @param bytes that were copied since it last heard of that transfer */
  progressed(transfer: Transfer, bytes: number): void;
  /** After the last bytes of it. */
  finished(transfer: Transfer): void;
}

/**
 * Has a transfer that is over counted, and logged, unless it has succeeded while its client waits:
 * then the lines of that request say as much.
 */
export function reportEnd(
  { observer, log }: { observer: TransferObserver; log: FastifyBaseLogger },
  transfer: Transfer,
): void {
  observer.finished(transfer);
  const { id, origin, status, choice, bytesCompleted, timings, error, promised } = transfer;
  if (!promised && status === 'succeeded') return;
  log[error?.code === 'internal_error' ? 'error' : 'info'](
    {
      transfer: id,
      client: origin.client,
      status,
      engine: choice.engine,
      bytes: bytesCompleted,
      total_ns: timings.total_ns,
      code: error?.code,
      detail: error?.message,
    },
    'transfer over',
  );
}
