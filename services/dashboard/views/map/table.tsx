// SPDX-License-Identifier: Apache-2.0
import { formatCount, formatOffset, formatTime } from '../../model/format.ts';
import { type Fault, faultsOf, summarise, type Use, type UseSummary } from '../../model/ranges.ts';
import { formatRoute } from '../../model/route.ts';
import { now } from '../../state/clock.ts';
import { service } from '../../state/service.ts';
import type { DeviceUse } from './map.tsx';
import { userOf } from './user.ts';

type Kind = Use | Fault;

const WORDS: Record<Kind, string> = {
  read: 'read',
  write: 'written',
  read_later: 'to read',
  write_later: 'to write',
  bad: 'bad',
  inconsistent: 'inconsistent',
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
            <Row key={`${entry.device} ${entry.user} ${entry.use} ${entry.offset}`} {...entry} />
          ))}
        </tbody>
      </table>
      {entries.length === 0 && (
        <p class="empty">
          {service.value === 'fleet' ? 'No transfer uses any bytes.' : 'No bytes are in use.'}
        </p>
      )}
      {entries.length > MOST && (
        <p class="quiet">and {(entries.length - MOST).toLocaleString('en')} more</p>
      )}
      {service.value === 'fleet' && (
        <p class="quiet after">Uploads and downloads are shown by the hosts’ own dashboards.</p>
      )}
    </section>
  );
}

function entriesOf({ device, ranges }: DeviceUse): Entry[] {
  const { name } = device;
  return [
    ...faultsOf(device).map(
      ({ fault, user = '', ...range }): Entry => ({
        ...{ ...range, user, device: name, use: fault, pieces: 1 },
      }),
    ),
    ...summarise(ranges).map((one): Entry => ({ ...one, device: name })),
  ];
}

function Row({ device, offset, size, use, pieces, user: id }: Entry) {
  const isFault = use === 'bad' || use === 'inconsistent';
  const user = isFault ? undefined : userOf(id);
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
          {formatOffset(offset)}&nbsp;– {formatOffset(offset + size)}
        </code>
      </td>
      <td>
        {use === 'inconsistent' && <Inconsistency replication={id} />}
        {user !== undefined && (
          <>
            {user.href === undefined ? user.what : <a href={user.href}>{user.what}</a>}
            <span class="quiet since">
              {user.client !== undefined && `${user.client}, `}
              since {formatTime(user.since, new Date(now.value))}
            </span>
          </>
        )}
      </td>
    </tr>
  );
}

/** @param replication of the host; empty: not this client's to see */
function Inconsistency({ replication }: { replication: string }) {
  return (
    <>
      Neither what it was nor what its source is.{' '}
      {replication !== '' && service.value === 'daemon' && (
        <a href={formatRoute({ view: 'replications', id: replication })}>The replication</a>
      )}
    </>
  );
}
