// SPDX-License-Identifier: Apache-2.0
import { signal } from '@preact/signals';
import { client } from './api.ts';

/** What serves this page: a host's daemon, or the gateway of a fleet. undefined: it has not said yet. */
export const service = signal<'daemon' | 'fleet' | undefined>(undefined);

/** Asks until it is known. */
export async function findService(abort: AbortSignal): Promise<void> {
  if (service.value !== undefined) return;
  const forever = Number.POSITIVE_INFINITY;
  const options = { signal: abort, deadlineMs: forever, retryForMs: forever };
  service.value = 'fleet' in (await client.getVersion(options)) ? 'fleet' : 'daemon';
}
