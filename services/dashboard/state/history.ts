// SPDX-License-Identifier: Apache-2.0
import { useEffect, useRef, useState } from 'preact/hooks';
import type { CallOptions } from '../../client/index.ts';
import { messageOf } from './api.ts';
import { token } from './session.ts';
import { historyEpoch } from './transfers.ts';

const PAGE_SIZE = '100';
/** More than that nobody scrolls through: the filter finds them. */
const MOST = 10_000;

/** Which page is asked for. */
export interface Position {
  page_size: string;
  page_token?: string;
}

interface Pages<T> {
  items: readonly T[];
  /** Of the next page; empty if there is none, undefined if there is nothing yet. */
  next: string | undefined;
}

/**
 * The daemon's history, page by page as somebody scrolls.
 *
 * @param query asks for none if it is undefined
 */
export function useHistory<T, Q>(
  query: Q | undefined,
  ask: (query: Q & Position, options: CallOptions) => Promise<{ items: T[]; next: string }>,
) {
  const [pages, setPages] = useState<Pages<T>>({ items: [], next: undefined });
  const [error, setError] = useState<string | undefined>(undefined);
  const shownFor = useRef<string | undefined>(undefined);
  const asking = useRef<AbortController | undefined>(undefined);
  // Stands for the query, which is another object each time, and for whose history it is.
  const key = JSON.stringify([query, token.value]);

  const load = async (from: Pages<T>) => {
    if (query === undefined) return;
    const abort = new AbortController();
    asking.current = abort;
    try {
      const position = { page_size: PAGE_SIZE, ...(from.next && { page_token: from.next }) };
      const { items, next } = await ask({ ...query, ...position }, { signal: abort.signal });
      // It may be another token's by now.
      if (abort.signal.aborted) return;
      setPages({ items: [...from.items, ...items], next });
      setError(undefined);
    } catch (failure) {
      if (!abort.signal.aborted) setError(messageOf(failure));
    }
    if (asking.current === abort) asking.current = undefined;
  };

  useEffect(() => {
    asking.current?.abort();
    const none = { items: [], next: undefined };
    // What is shown stays until there is something to show in its place.
    if (shownFor.current !== key) setPages(none);
    shownFor.current = key;
    load(none);
    return () => asking.current?.abort();
  }, [key, historyEpoch.value]);

  const more = () => {
    if (asking.current !== undefined || !pages.next || pages.items.length >= MOST) return;
    load(pages);
  };
  return { ...pages, error, more };
}
