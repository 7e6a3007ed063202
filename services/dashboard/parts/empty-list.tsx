// SPDX-License-Identifier: Apache-2.0
import { formatRoute, type Route } from '../model/route.ts';

interface EmptyListProps {
  /** What would stand in the list. */
  nouns: string;
  error: string | undefined;
  loading: boolean;
  /** Whether a filter may be why there are none. */
  filtered: boolean;
  /** Where somebody starts one. */
  start: Partial<Route> & Pick<Route, 'view'>;
}

/** Why a list shows nothing, and what to do about it. */
export function EmptyList({ nouns, error, loading, filtered, start }: EmptyListProps) {
  if (error !== undefined) return <>{error}</>;
  if (loading) return <>Loading</>;
  if (filtered) return <>No {nouns} match the filter.</>;
  return (
    <>
      No {nouns} yet. <a href={formatRoute(start)}>Start one</a>
    </>
  );
}
