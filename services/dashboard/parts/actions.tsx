// SPDX-License-Identifier: Apache-2.0
import type { Transfer, TransferPatch } from '../../client/types.ts';
import { client } from '../state/api.ts';
import { attempt } from '../state/notice.ts';
import { store } from '../state/transfers.ts';

export const PRIORITIES = ['high', 'normal', 'low'] as const;

async function cancel({ id }: Transfer): Promise<void> {
  store.applyAnswer(await client.cancelTransfer(id), performance.now());
}

async function change({ id }: Transfer, patch: TransferPatch): Promise<void> {
  store.applyAnswer(await client.changeTransfer(id, patch), performance.now());
}

/** What can be done with a transfer as it stands: nothing once it is over. */
export function Actions({ transfer }: { transfer: Transfer }) {
  const { status, priority, id } = transfer;
  if (status !== 'queued' && status !== 'running') return null;
  return (
    <>
      {status === 'queued' && (
        <select
          aria-label={`Priority of ${id}`}
          value={priority}
          onChange={({ currentTarget: { value } }) =>
            attempt(() => change(transfer, { priority: value as (typeof PRIORITIES)[number] }))
          }
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
        onClick={() => attempt(() => cancel(transfer))}
      >
        Cancel
      </button>
    </>
  );
}
