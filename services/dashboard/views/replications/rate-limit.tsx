// SPDX-License-Identifier: Apache-2.0
import { useState } from 'preact/hooks';
import type { DmadError } from '../../../client/index.ts';
import type { Replication } from '../../../client/types.ts';
import { exactBytes } from '../../model/format.ts';
import { amount } from '../../model/segments.ts';
import { TextField } from '../../parts/field.tsx';
import { client, messageOf } from '../../state/api.ts';
import { replications } from '../../state/transfers.ts';

/** How fast a replication may read from its peer, which can be changed while it runs. */
export function RateLimit({
  replication: { id, bytes_per_second: rate },
}: {
  replication: Replication;
}) {
  const [typed, setTyped] = useState<string | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const value = typed ?? (rate === null ? '' : exactBytes(rate));

  const change = async (event: Event) => {
    event.preventDefault();
    const wanted = amount(value);
    try {
      const patch = { bytes_per_second: wanted === '' ? null : wanted };
      replications.applyAnswer(await client.changeReplication(id, patch), performance.now());
      setTyped(undefined);
      setError(undefined);
    } catch (failure) {
      const [first] = (failure as Partial<DmadError>).errors ?? [];
      setError(first?.detail ?? messageOf(failure));
    }
  };

  return (
    <form class="panel" aria-label="Rate limit" onSubmit={change}>
      <h2>Rate limit</h2>
      <TextField
        {...{ name: 'bytes_per_second', label: 'Bytes a second', value, error }}
        placeholder="none"
        hint="such as 100 MiB; none, if it is empty"
        onValue={setTyped}
      />
      <div class="form-end">
        <button type="submit" class="button">
          Set the limit
        </button>
      </div>
    </form>
  );
}
