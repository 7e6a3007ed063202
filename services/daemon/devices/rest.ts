// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from 'node:http';

/** Waits so many milliseconds, but no longer than the client is there. */
export function rest(raw: ServerResponse, ms: number): Promise<void> {
  if (ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      raw.removeListener('close', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    raw.once('close', end);
  });
}
