// SPDX-License-Identifier: Apache-2.0
import { adoptTransfer, isBetweenHosts, type Transfer } from '../../model/transfer.ts';
import { Actions } from '../../parts/actions.tsx';
import { client } from '../../state/api.ts';
import { store } from '../../state/transfers.ts';

export function TransferActions({ transfer }: { transfer: Transfer }) {
  const { id, status } = transfer;
  const apply = (answer: Transfer) => store.applyAnswer(adoptTransfer(answer), performance.now());
  // What runs keeps its priority, unless it is a replication.
  const changes = status !== 'running' || isBetweenHosts(transfer);
  return (
    <Actions
      work={transfer}
      cancel={async () => apply(await client.cancelTransfer(id))}
      setPriority={
        changes
          ? async (priority) => apply(await client.changeTransfer(id, { priority }))
          : undefined
      }
    />
  );
}
