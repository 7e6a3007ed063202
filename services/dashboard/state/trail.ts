// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';

/** A request of this tab that changed something, or was to. */
export interface TrailEntry {
  at: number;
  method: string;
  path: string;
  /** undefined: no answer came. */
  status: number | undefined;
  /** By which the daemon's log names it. */
  requestId: string | undefined;
}

const KEY = 'dmad-trail';
const MOST = 200;

/** Newest first. It ends with the tab. */
export const trail = signal<readonly TrailEntry[]>(read());

export function addToTrail(entry: TrailEntry): void {
  trail.value = [entry, ...trail.value].slice(0, MOST);
  sessionStorage.setItem(KEY, JSON.stringify(trail.value));
}

function read(): TrailEntry[] {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? '[]');
  } catch {
    return [];
  }
}
