// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from 'preact/hooks';
import type { TransferList, TransferListQuery } from '../../client/types.ts';
import { client, messageOf } from './api.ts';
import { token } from './session.ts';
import { historyEpoch } from './transfers.ts';

/** A transfer that is over, as the list has it: without segments and timings. */
export type Ended = TransferList['transfers'][number];

const PAGE_SIZE = '100';
/** More than that nobody scrolls through: the filter finds them. */
const MOST = 10_000;

interface Pages {
  transfers: readonly Ended[];
  /** Of the next page; empty if there is none. */
  next: string | undefined;
}

const NONE: Pages = { transfers: [], next: undefined };

/** The daemon's history, page by page as somebody scrolls. */
export function useHistory(query: TransferListQuery | undefined) {
  const [pages, setPages] = useState(NONE);
  const [error, setError] = useState<string | undefined>(undefined);
  const shownFor = useRef<string | undefined>(undefined);
  const asking = useRef<AbortController | undefined>(undefined);
  // Stands for the query, which is another object each time, and for whose history it is.
  const key = JSON.stringify([query, token.value]);

  const load = async (from: Pages) => {
    if (query === undefined) return;
    const abort = new AbortController();
    asking.current = abort;
    try {
      const page = await client.listTransfers(
        { ...query, page_size: PAGE_SIZE, ...(from.next && { page_token: from.next }) },
        { signal: abort.signal },
      );
      setPages({
        transfers: [...from.transfers, ...page.transfers],
        next: page.next_page_token,
      });
      setError(undefined);
    } catch (failure) {
      if (!abort.signal.aborted) setError(messageOf(failure));
    }
    if (asking.current === abort) asking.current = undefined;
  };

  useEffect(() => {
    asking.current?.abort();
    // What is shown stays until there is something to show in its place.
    if (shownFor.current !== key) setPages(NONE);
    shownFor.current = key;
    load(NONE);
    return () => asking.current?.abort();
  }, [key, historyEpoch.value]);

  const more = () => {
    if (asking.current !== undefined || !pages.next || pages.transfers.length >= MOST) return;
    load(pages);
  };
  return { ...pages, error, more };
}
