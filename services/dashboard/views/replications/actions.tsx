// SPDX-License-Identifier: Apache-2.0
import type { Replication } from '../../../client/types.ts';
import { Actions } from '../../parts/actions.tsx';
import { client } from '../../state/api.ts';
import { replications } from '../../state/transfers.ts';

export function ReplicationActions({ replication: { id, ...rest } }: { replication: Replication }) {
  const apply = (answer: Replication) => replications.applyAnswer(answer, performance.now());
  return (
    <Actions
      work={{ id, ...rest }}
      cancel={async () => apply(await client.cancelReplication(id))}
      setPriority={async (priority) => apply(await client.changeReplication(id, { priority }))}
    />
  );
}
