// SPDX-License-Identifier: Apache-2.0
import { describeBytes, formatCount, formatOffset } from '../../model/format.ts';
import type { Transfer } from '../../model/transfer.ts';

/** Of thousands nobody reads more. */
const MOST = 100;

export function Segments({ segments }: { segments: NonNullable<Transfer['segments']> }) {
  return (
    <section class="panel scroll" aria-label="Segments" tabIndex={0}>
      <h2>{formatCount(segments.length, 'segment')}</h2>
      <table>
        <thead>
          <tr>
            <th scope="col" class="number">
              From
            </th>
            <th scope="col" class="number">
              To
            </th>
            <th scope="col" class="number">
              Size
            </th>
          </tr>
        </thead>
        <tbody>
          {segments.slice(0, MOST).map(({ src_offset: src, dst_offset: dst, size }, index) => (
            <tr key={index}>
              <td class="number mono">{src === undefined ? '' : formatOffset(src)}</td>
              <td class="number mono">{formatOffset(dst)}</td>
              <td class="number">{describeBytes(size)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {segments.length > MOST && (
        <p class="quiet">and {(segments.length - MOST).toLocaleString('en')} more</p>
      )}
    </section>
  );
}
