// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'preact/hooks';
import type { CallOptions } from '../../client/index.ts';
import { messageOf } from './api.ts';
import type { Work, WorkStore } from './store.ts';
import { historyEpoch } from './transfers.ts';

/** A transfer or a replication as the stream of events has it; what it does not have is asked for. */
export function useOne<W extends Work>(
  store: WorkStore<W>,
  id: string,
  ask: (id: string, options: CallOptions) => Promise<W>,
) {
  const [asked, setAsked] = useState<W | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const followed = store.get(id)?.value;
  // The list may change before the store has it.
  void store.active.value;
  // Asked for anew when events were missed.
  const epoch = historyEpoch.value;
  useEffect(() => {
    const abort = new AbortController();
    ask(id, { signal: abort.signal }).then(
      (work) => {
        setAsked(work);
        setError(undefined);
      },
      (failure) => {
        if (!abort.signal.aborted) setError(messageOf(failure));
      },
    );
    return () => abort.abort();
  }, [store, id, ask, epoch]);
  return { work: followed ?? asked, error };
}
