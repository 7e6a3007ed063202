// SPDX-License-Identifier: Apache-2.0
import type { Replication } from '../../../client/types.ts';
import { formatBytes } from '../../model/format.ts';

const CONSISTENCY: Record<Replication['consistency'], string> = {
  unchanged: 'Nothing is written yet: the destination is what it was.',
  inconsistent: 'The destination is neither what it was nor what the source is.',
  consistent: 'Proven: every block of the destination is equal to the source.',
};
const ROUNDS = 5;

type Copied = Pick<Replication, 'blocks' | 'block_size' | 'round' | 'consistency'>;

/** What became of each block, and what is known of the destination. */
export function Blocks({ replication }: { replication: Copied }) {
  const { blocks, block_size: size, round, consistency } = replication;
  const { total, equal, copied, again } = blocks;
  const left = Math.max(0, total - equal - copied);
  const rows = [
    { name: 'found equal', kind: 'equal', count: equal },
    { name: 'copied', kind: 'copied', count: copied },
    { name: 'to come', kind: 'left', count: left },
  ];
  return (
    <section class="panel" aria-label="Blocks">
      <h2>Blocks of {formatBytes(size)}</h2>
      <div class="timeline" aria-hidden="true">
        {rows
          .filter(({ count }) => count > 0)
          .map(({ kind, count }) => (
            <i key={kind} class={`blocks-${kind}`} style={{ flexGrow: count }} />
          ))}
      </div>
      <table>
        <tbody>
          {rows.map(({ name, kind, count }) => (
            <tr key={kind} data-blocks={kind} data-count={count}>
              <td>
                <i class={`phase-key blocks-${kind}`} />
                {name}
              </td>
              <td class="number">{count.toLocaleString('en')}</td>
            </tr>
          ))}
          <tr data-blocks="total" data-count={total}>
            <td>total</td>
            <td class="number">{total.toLocaleString('en')}</td>
          </tr>
          {again > 0 && (
            <tr>
              <td>copied again, for the source had changed</td>
              <td class="number">{again.toLocaleString('en')}</td>
            </tr>
          )}
        </tbody>
      </table>
      <p class="after" data-consistency={consistency}>
        <strong class={consistency === 'inconsistent' ? 'wrong' : undefined}>{consistency}</strong>
        {round > 0 && ` · round ${round} of ${ROUNDS} at most`}
        <br />
        <span class="quiet">{CONSISTENCY[consistency]}</span>
      </p>
    </section>
  );
}
