// SPDX-License-Identifier: Apache-2.0
import type { Transfer } from '../../client/types.ts';
import { formatPercent } from '../model/format.ts';

type Progress = Pick<Transfer, 'progress' | 'status' | 'operation'>;

export function Bar({ transfer: { progress, status, operation } }: { transfer: Progress }) {
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
      data-use={operation === 'compare' ? 'read' : 'write'}
    >
      <i style={{ transform: `scaleX(${progress})` }} />
    </div>
  );
}
