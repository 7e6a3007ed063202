// SPDX-License-Identifier: Apache-2.0
import { formatPercent } from '../model/format.ts';
import type { TransferStatus } from '../model/transfer.ts';

interface BarProps {
  progress: number;
  status: TransferStatus;
  use: 'read' | 'write';
}

export function Bar({ progress, status, use }: BarProps) {
  return (
    <div
      class="bar"
      role="progressbar"
      aria-label="Progress"
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.floor(progress * 100)}
      aria-valuetext={formatPercent(progress)}
      data-status={status}
      data-use={use}
    >
      <i style={{ transform: `scaleX(${progress})` }} />
    </div>
  );
}
