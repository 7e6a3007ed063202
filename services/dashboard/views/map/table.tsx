// SPDX-License-Identifier: Apache-2.0
import { formatCount, formatOffset, formatTime } from '../../model/format.ts';
import { summarise, type Use, type UseSummary } from '../../model/ranges.ts';
import { formatRoute } from '../../model/route.ts';
import { sentenceOf } from '../../model/sentence.ts';
import { now } from '../../state/clock.ts';
import { store } from '../../state/transfers.ts';
import type { DeviceUse } from './map.tsx';

type Kind = Use | 'bad';

const WORDS: Record<Kind, string> = {
  read: 'read',
  write: 'written',
  read_later: 'to read',
  write_later: 'to write',
  bad: 'bad',
};
/** More rows say nothing more; the list of transfers has all. */
const MOST = 100;

interface Entry extends Omit<UseSummary, 'use'> {
  device: string;
  use: Kind;
}

/** The map in words, for keyboards and screen readers, and for exact offsets. */
export function UsesTable({ uses }: { uses: readonly DeviceUse[] }) {
  const entries = uses.flatMap(entriesOf);
  return (
    <section class="panel scroll" aria-label="Bytes in use" tabIndex={0}>
      <h2>Bytes in use</h2>
      <table class="uses">
        <thead>
          <tr>
            <th scope="col">Use</th>
            <th scope="col">Bytes</th>
            <th scope="col">By</th>
          </tr>
        </thead>
        <tbody>
          {entries.slice(0, MOST).map((entry) => (
            <Row
              key={`${entry.device} ${entry.transfer} ${entry.use} ${entry.offset}`}
              {...entry}
            />
          ))}
        </tbody>
      </table>
      {entries.length === 0 && <p class="empty">No bytes are in use.</p>}
      {entries.length > MOST && <p class="quiet">and {entries.length - MOST} more</p>}
    </section>
  );
}

function entriesOf({ device: { name: device, bad_blocks: bad }, ranges }: DeviceUse): Entry[] {
  return [
    ...bad.map((range): Entry => ({ ...range, device, use: 'bad', transfer: '', pieces: 1 })),
    ...summarise(ranges).map((one): Entry => ({ ...one, device })),
  ];
}

function Row({ device, offset, size, use, pieces, transfer: id }: Entry) {
  const transfer = store.get(id)?.value;
  const since = transfer && new Date(transfer.started_at ?? transfer.created_at);
  return (
    <tr>
      <td>
        <span class="use" data-use={use}>
          {WORDS[use]}
        </span>
      </td>
      <td>
        {device} {pieces > 1 && <span class="quiet">in {formatCount(pieces, 'piece')}</span>}
        <br />
        <code class="quiet">
          {formatOffset(offset)} – {formatOffset(offset + size)}
        </code>
      </td>
      <td>
        {transfer === undefined ? (
          use !== 'bad' && 'an upload of this tab'
        ) : (
          <a href={formatRoute({ view: 'transfers', id })}>{sentenceOf(transfer)}</a>
        )}
        {since && <span class="quiet since">since {formatTime(since, new Date(now.value))}</span>}
      </td>
    </tr>
  );
}
