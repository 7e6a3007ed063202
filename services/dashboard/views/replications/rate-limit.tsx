// SPDX-License-Identifier: Apache-2.0
import { useState } from 'preact/hooks';
import type { DmadError } from '../../../client/index.ts';
import { exactBytes } from '../../model/format.ts';
import { amount } from '../../model/segments.ts';
import { TextField } from '../../parts/field.tsx';
import { messageOf } from '../../state/api.ts';

interface RateLimitProps {
  /** In bytes a second; null: none. */
  rate: number | null;
  change: (rate: number | string | null) => Promise<void>;
}

/** How fast a replication may read from its peer, which can be changed while it runs. */
export function RateLimit({ rate, change }: RateLimitProps) {
  const [typed, setTyped] = useState<string | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const value = typed ?? (rate === null ? '' : exactBytes(rate));

  const send = async (event: Event) => {
    event.preventDefault();
    const wanted = amount(value);
    try {
      await change(wanted === '' ? null : wanted);
      setTyped(undefined);
      setError(undefined);
    } catch (failure) {
      const [first] = (failure as Partial<DmadError>).errors ?? [];
      setError(first?.detail ?? messageOf(failure));
    }
  };

  return (
    <form class="panel" aria-label="Rate limit" onSubmit={send}>
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
