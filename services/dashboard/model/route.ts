// SPDX-License-Identifier: Apache-2.0
// Addresses are behind the "#": the page is one file, wherever a proxy puts it.

export const VIEWS = [
  ...(['map', 'transfers', 'replications', 'engines', 'hosts', 'new', 'health'] as const),
] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  view: View;
  /** Of the transfer or replication whose own page it is. */
  id?: string;
  /** Such as filters, in the order in which they were set. */
  query: Readonly<Record<string, string>>;
}

/** Each of what they list has a page of its own. */
const WITH_PAGES: readonly View[] = ['transfers', 'replications'];

const HOME: Route = { view: 'map', query: {} };

/** @param hash such as `#/transfers/0195…` or `#/map?device=dax0.0` */
export function parseRoute(hash: string): Route {
  const [, name, id, query] = /^#\/([a-z]+)(?:\/([^/?]+))?(?:\?(.*))?$/.exec(hash) ?? [];
  const view = VIEWS.find((each) => each === name);
  if (view === undefined) return HOME;
  return {
    view,
    ...(WITH_PAGES.includes(view) && id !== undefined && { id: decode(id) }),
    query: Object.fromEntries(new URLSearchParams(query ?? '')),
  };
}

export function formatRoute({ view, id, query = {} }: Partial<Route> & { view: View }): string {
  const text = new URLSearchParams(query).toString();
  const path = id === undefined ? view : `${view}/${encodeURIComponent(id)}`;
  return `#/${path}${text && `?${text}`}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
