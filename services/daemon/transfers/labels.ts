// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { fieldProblem } from '../../http/problems/problem.ts';

const MAX_LABELS = 16;
const MAX_LABEL_KEY = 63;
const MAX_LABEL_VALUE = 255;

/** Lengths are in characters, as in JSON Schema, not in UTF-16 units. */
function characters(minimum: number, maximum: number) {
  return z
    .string()
    .refine((text) => {
      const { length } = [...text];
      return length >= minimum && length <= maximum;
    }, `must have ${minimum} to ${maximum} characters`)
    .meta({ minLength: minimum, maxLength: maximum });
}

const labelKey = characters(1, MAX_LABEL_KEY)
  .refine((key) => !key.includes(':'), 'must have no ":", which separates key and value in a query')
  .meta({ pattern: '^[^:]*$' });

export const labelsSchema = z
  .record(labelKey, characters(0, MAX_LABEL_VALUE))
  .refine((pairs) => Object.keys(pairs).length <= MAX_LABELS, `may have up to ${MAX_LABELS} pairs`)
  .meta({ maxProperties: MAX_LABELS });

export const labelPatchSchema = z
  .record(labelKey, characters(0, MAX_LABEL_VALUE).nullable())
  .nullable()
  .meta({ description: 'Added to those that there are, or in their place; null removes one.' });

export const labelFilterSchema = z
  .union([z.string(), z.array(z.string()).max(MAX_LABELS)], {
    error: `may be given up to ${MAX_LABELS} times`,
  })
  .transform((given) => [given].flat())
  .refine((pairs) => pairs.every((pair) => /^[^:]+:/.test(pair)), 'must be key:value');

type Labels = Readonly<Record<string, string>>;

/**
 * Applies a merge patch (RFC 7396) to labels.
 *
 * @throws Problem invalid_request if there are too many labels then
 */
export function patchedLabels(
  { labels }: { labels: Labels },
  patch: z.output<typeof labelPatchSchema>,
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
