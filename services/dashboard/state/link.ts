// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';

/** How the stream of events fares. */
export type Link =
  | { state: 'connecting' }
  | { state: 'live' }
  /** It tries again by itself. */
  | { state: 'lost'; since: number }
  /** The token lacks the right, say. */
  | { state: 'refused'; why: string };

export const link = signal<Link>({ state: 'connecting' });

export function setLink(next: Link): void {
  // It has been lost since it was lost first.
  if (next.state === 'lost' && link.value.state === 'lost') return;
  if (next.state === 'live' && link.value.state === 'live') return;
  link.value = next;
}
