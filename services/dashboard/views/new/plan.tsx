// SPDX-License-Identifier: Apache-2.0
import type { DryRun } from '../../../client/types.ts';
import { describeBytes, formatCount, formatOffset } from '../../model/format.ts';
import type { FormValues } from '../../model/request.ts';
import { type Fact, FactList } from '../../parts/fact-list.tsx';
import { Segments } from '../transfers/segments.tsx';

interface PlanProps {
  plan: DryRun | undefined;
  values: FormValues;
  /** What is wrong with no field alone. */
  error: string | undefined;
}

/** What the daemon would do with the form as it stands. */
export function Plan({ plan, values, error }: PlanProps) {
  const segments = plan?.segments ?? [];
  return (
    <div class="stack">
      <section class="panel plan" aria-label="Plan" aria-live="polite">
        <h2>Plan</h2>
        {error !== undefined && <p class="wrong">{error}</p>}
        {plan !== undefined && <FactList facts={factsOf(plan, values)} />}
        {plan === undefined && error === undefined && (
          <p class="quiet">What would be done stands here as you type.</p>
        )}
      </section>
      {segments.length > 1 && <Segments segments={segments} />}
    </div>
  );
}

function factsOf(plan: DryRun, values: FormValues): Fact[] {
  const { segments, bytes } = plan;
  const facts: Fact[] = [
    // A fleet's transfer between hosts has none.
    ['Engine', plan.engine?.toUpperCase() ?? 'none'],
    ['Why', plan.engine_reason],
    ['Bytes', describeBytes(bytes)],
  ];
  const [only] = segments;
  if (only === undefined || segments.length > 1) {
    return [...facts, ['Pieces', formatCount(segments.length, 'segment')]];
  }
  const { src_offset: src, dst_offset: dst, size } = only;
  return [
    ...facts,
    ['From', src !== undefined && range(values.device_name, src, size)],
    ['To', range(values.dst_device_name, dst, size)],
  ];
}

function range(device: string, offset: number, size: number) {
  return (
    <>
      {device}{' '}
      <code>
        {formatOffset(offset)} – {formatOffset(offset + size)}
      </code>
    </>
  );
}
