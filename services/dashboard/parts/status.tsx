// SPDX-License-Identifier: Apache-2.0
import type { TransferStatus } from '../model/transfer.ts';

/** A shape for each status, beside its word: not by colour alone. */
const CLOCK = 'M6 1.5a4.5 4.5 0 1 0 0 9a4.5 4.5 0 1 0 0-9M6 3.5V6l2 1.5';
const SHAPES: Record<TransferStatus, string> = {
  accepted: CLOCK,
  queued: CLOCK,
  running: 'M3 2l7 4l-7 4z',
  succeeded: 'M2 6.5l3 3l5-7',
  failed: 'M2.5 2.5l7 7m0-7l-7 7',
  cancelled: 'M2.5 2.5h7v7h-7z',
  interrupted: 'M6 1.5v5.5m0 2v1',
};

export function Status({ status }: { status: TransferStatus }) {
  return (
    <span class="state" data-status={status}>
      <svg viewBox="0 0 12 12" aria-hidden="true">
        <path
          d={SHAPES[status]}
          fill={status === 'running' ? 'currentColor' : 'none'}
          stroke="currentColor"
          stroke-width="1.5"
        />
      </svg>
      {status}
    </span>
  );
}
