// SPDX-License-Identifier: Apache-2.0
import { isOver } from '../../client/index.ts';
import type { TransferStatus } from '../model/transfer.ts';
import { attempt } from '../state/notice.ts';

export const PRIORITIES = ['high', 'normal', 'low'] as const;
export type Priority = (typeof PRIORITIES)[number];

interface ActionsProps {
  work: { id: string; status: TransferStatus; priority: Priority };
  cancel: () => Promise<void>;
  /** Undefined if it cannot be changed. */
  setPriority: ((priority: Priority) => Promise<void>) | undefined;
}

/** What can be done with a transfer or a replication as it stands: nothing once it is over. */
export function Actions({ work, cancel, setPriority }: ActionsProps) {
  const { id, priority } = work;
  if (isOver(work)) return null;
  return (
    <>
      {setPriority !== undefined && (
        <select
          aria-label={`Priority of ${id}`}
          value={priority}
          onChange={({ currentTarget: { value } }) => attempt(() => setPriority(value as Priority))}
        >
          {PRIORITIES.map((each) => (
            <option key={each}>{each}</option>
          ))}
        </select>
      )}
      <button
        type="button"
        class="button"
        aria-label={`Cancel ${id}`}
        onClick={() => attempt(cancel)}
      >
        Cancel
      </button>
    </>
  );
}
