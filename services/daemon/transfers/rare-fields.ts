// SPDX-License-Identifier: Apache-2.0
import type { ProblemCode, ProblemOptions } from '../../http/problems/problem.ts';
import type { Change, Origin, Outcome, Transfer, TransferPlan } from './transfer.ts';

/** What few finished transfers have; kept as JSON. */
export interface RareFields {
  pattern?: string | undefined;
  labels?: TransferPlan['labels'];
  dependsOn?: readonly string[];
  key?: string | undefined;
  trace?: Origin['trace'];
  channels?: readonly string[];
  error?: { code: ProblemCode; detail: string; options: ProblemOptions };
  change?: Change;
}

/** As JSON. @returns nothing for most transfers */
export function rareText({ plan, origin, change }: Transfer, { channels, error }: Outcome): string {
  const { pattern, labels, dependsOn } = plan;
  const { key, trace } = origin;
  const hasNone =
    (pattern ?? key ?? trace ?? error ?? change) === undefined &&
    channels.length === 0 &&
    dependsOn.length === 0 &&
    !hasLabels(plan);
  if (hasNone) return '';
  const rare: RareFields = {
    ...{ pattern, key, trace, channels, dependsOn, labels },
    ...(error && { error: { code: error.code, detail: error.message, options: error.options } }),
    ...(change && { change }),
  };
  return JSON.stringify(rare);
}

/** @param text that {@link rareText} gave */
export function parseRare(text: string): RareFields {
  if (text === '') return {};
  const rare: RareFields = JSON.parse(text);
  const { change } = rare;
  // JSON has no undefined.
  if (change) change.settings = { ...change.settings, timeoutMs: change.settings.timeoutMs };
  return rare;
}

export function hasLabels({ labels }: Pick<TransferPlan, 'labels'>): boolean {
  for (const _ in labels) return true;
  return false;
}
