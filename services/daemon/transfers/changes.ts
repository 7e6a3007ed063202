// SPDX-License-Identifier: Apache-2.0
import { fieldProblem } from '../../http/problems/problem.ts';
import { MAX_LABELS, type TransferPatch } from './schema.ts';
import type { TransferPlan } from './transfer.ts';

/** What a client may still change of a transfer that is not over. */
export type TransferSettings = Pick<TransferPlan, 'priority' | 'timeoutMs' | 'labels'>;

/**
 * Applies a merge patch (RFC 7396): what it does not name stays, and null gives the default.
 *
 * @throws Problem invalid_request if there are too many labels then
 */
export function patched(settings: TransferSettings, patch: TransferPatch): TransferSettings {
  const { priority = settings.priority, timeout_ms: timeoutMs = settings.timeoutMs } = patch;
  return {
    priority: priority ?? 'normal',
    timeoutMs: timeoutMs ?? undefined,
    labels: patch.labels === undefined ? settings.labels : patchedLabels(settings, patch.labels),
  };
}

/** @throws Problem invalid_request if there are too many labels then */
export function patchedLabels(
  { labels }: Pick<TransferSettings, 'labels'>,
  patch: NonNullable<TransferPatch['labels']> | null,
): TransferSettings['labels'] {
  const merged = new Map(patch === null ? [] : Object.entries(labels));
  for (const [key, value] of Object.entries(patch ?? {})) {
    if (value === null) merged.delete(key);
    else merged.set(key, value);
  }
  if (merged.size > MAX_LABELS) {
    const detail = `There would be ${merged.size} labels, and there may be up to ${MAX_LABELS}: remove some with null.`;
    throw fieldProblem('invalid_request', '/labels', detail);
  }
  return Object.fromEntries(merged);
}
