// SPDX-License-Identifier: Apache-2.0
import { fieldProblem } from '../../http/problems/problem.ts';
import { MAX_LABELS, type TransferPatch } from './schema.ts';

type Labels = Readonly<Record<string, string>>;

/**
 * Applies a merge patch (RFC 7396) to labels.
 *
 * @throws Problem invalid_request if there are too many labels then
 */
export function patchedLabels(
  { labels }: { labels: Labels },
  patch: NonNullable<TransferPatch['labels']> | null,
): Labels {
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
