// SPDX-License-Identifier: Apache-2.0
import { formatNanoseconds, formatPercent } from '../../model/format.ts';
import { type Phase, timelineOf } from '../../model/timeline.ts';
import type { Transfer } from '../../model/transfer.ts';

const NAMES: Record<Phase, string> = {
  queue: 'queue',
  copy: 'copy',
  flush: 'flush',
  verify: 'verify',
  running: 'under way',
  other: 'between phases',
};

/** Where its time went, in the order of its phases. */
export function Timeline({ transfer }: { transfer: Transfer }) {
  const parts = timelineOf(transfer);
  return (
    <section class="panel" aria-label="Time line" data-operation={transfer.operation}>
      <h2>Time line</h2>
      <div class="timeline" aria-hidden="true">
        {parts.map(({ phase, share }) => (
          <i key={phase} class={`phase-${phase}`} style={{ flexGrow: share }} />
        ))}
      </div>
      {parts.length === 0 && <p class="quiet">No phase has begun.</p>}
      <table hidden={parts.length === 0}>
        <thead>
          <tr>
            <th scope="col">Phase</th>
            <th scope="col" class="number">
              Time
            </th>
            <th scope="col" class="number">
              Share
            </th>
          </tr>
        </thead>
        <tbody>
          {parts.map(({ phase, ns, share }) => (
            <tr key={phase} data-phase={phase} data-ns={ns}>
              <td>
                <i class={`phase-key phase-${phase}`} />
                {phase === 'copy' ? transfer.operation : NAMES[phase]}
              </td>
              <td class="number">{formatNanoseconds(ns)}</td>
              <td class="number">{formatPercent(share)}</td>
            </tr>
          ))}
          <tr data-phase="total" data-ns={transfer.timings.total_ns}>
            <td>total</td>
            <td class="number">{formatNanoseconds(transfer.timings.total_ns)}</td>
            <td class="number" />
          </tr>
        </tbody>
      </table>
    </section>
  );
}
