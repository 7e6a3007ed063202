// SPDX-License-Identifier: Apache-2.0
import type { DryRun } from '../../../client/types.ts';
import { exactBytes, formatBytes, formatCount, formatOffset } from '../../model/format.ts';

interface PlanProps {
  plan: DryRun | undefined;
  /** What is wrong with no field alone. */
  error: string | undefined;
}

/** What the daemon would do with the form as it stands. */
export function Plan({ plan, error }: PlanProps) {
  return (
    <section class="panel plan" aria-label="Plan" aria-live="polite">
      <h2>Plan</h2>
      {error !== undefined && <p class="wrong">{error}</p>}
      {plan === undefined ? (
        <p class="quiet">
          {error === undefined && 'What the daemon would do stands here as you type.'}
        </p>
      ) : (
        <dl class="facts">
          <dt>Engine</dt>
          <dd>{plan.engine.toUpperCase()}</dd>
          <dt>Why</dt>
          <dd>{plan.engine_reason}</dd>
          <dt>Bytes</dt>
          <dd>
            {formatBytes(plan.bytes)} ({exactBytes(plan.bytes)})
          </dd>
          <dt>Pieces</dt>
          <dd>{formatCount(plan.segments.length, 'segment')}</dd>
          {plan.segments.slice(0, 1).map(({ src_offset: src, dst_offset: dst, size }) => (
            <>
              {src !== undefined && <dt key="reads">Reads</dt>}
              {src !== undefined && <dd key="read">{range(src, size)}</dd>}
              <dt key="touches">To</dt>
              <dd key="touched">{range(dst, size)}</dd>
            </>
          ))}
        </dl>
      )}
    </section>
  );
}

function range(offset: number, size: number) {
  return (
    <code>
      {formatOffset(offset)} – {formatOffset(offset + size)}
    </code>
  );
}
