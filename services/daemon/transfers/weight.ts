// SPDX-License-Identifier: Apache-2.0
import type { TransferSettings } from './changes.ts';
import type { Transfer } from './transfer.ts';

/** Characters of labels that take about as much memory as a segment. */
const LABEL_CHARACTERS = 32;

/** How much memory an id takes, in segments. */
const ID_WEIGHT = 2;

/** How much memory a transfer takes, in segments: labels, ids and what its trace carries count too. */
export function weightOf({
  plan,
  change,
  origin,
}: Pick<Transfer, 'plan' | 'change' | 'origin'>): number {
  // Those that a change has replaced are kept as well.
  const labels = labelWeight(plan.labels) + labelWeight(change?.settings.labels ?? {});
  const weight = plan.segments.length + ID_WEIGHT * plan.dependsOn.length + labels;
  return weight + Math.ceil((origin.trace?.tracestate?.length ?? 0) / LABEL_CHARACTERS);
}

/** They are kept as JSON, which makes six characters of a control character. */
function labelWeight(labels: TransferSettings['labels']): number {
  let weight = 0;
  for (const [key, value] of Object.entries(labels)) {
    weight += 1 + Math.floor(JSON.stringify(key + value).length / LABEL_CHARACTERS);
  }
  return weight;
}
