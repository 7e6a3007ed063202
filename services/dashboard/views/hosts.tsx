// SPDX-License-Identifier: Apache-2.0
import type { FleetHost } from '../../client/types.ts';
import { formatTime } from '../model/format.ts';
import { formatRoute } from '../model/route.ts';
import { now } from '../state/clock.ts';
import { hosts, usePoll } from '../state/poll.ts';

/** What does not work stands first. */
const ORDER: readonly FleetHost['state'][] = ['unreachable', 'degraded', 'ready'];

/** The hosts of a fleet, and how they fare. */
export function Hosts() {
  const known = usePoll(hosts);
  const sorted = [...(known ?? [])].sort(
    (a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || (a.name < b.name ? -1 : 1),
  );
  const counts = ORDER.map((state) => [state, sorted.filter((one) => one.state === state).length])
    .filter(([, count]) => count !== 0)
    .map(([state, count]) => `${count} ${state}`);
  return (
    <>
      <div class="view-head">
        <h1>Hosts</h1>
        <span class="quiet">{counts.join(', ')}</span>
      </div>
      {hosts.error.value !== undefined && <p class="alert">{hosts.error.value}</p>}
      {sorted.some(({ stale }) => stale) && (
        <p class="alert">etcd is away: this is what the gateway knew last.</p>
      )}
      <section class="panel scroll" aria-label="Hosts" tabIndex={0}>
        {sorted.length === 0 ? (
          <p class="empty">{known === undefined ? 'Loading' : 'No hosts yet.'}</p>
        ) : (
          <table class="hosts">
            <thead>
              <tr>
                <th scope="col">Host</th>
                <th scope="col">State</th>
                <th scope="col">Since</th>
                <th scope="col" class="number">
                  Transfers
                </th>
                <th scope="col">Copies by</th>
                <th scope="col">Devices</th>
                <th scope="col">Address</th>
                <th scope="col">Why</th>
              </tr>
            </thead>
            <tbody>
              {sorted.map((host) => (
                <Row key={host.name} {...host} />
              ))}
            </tbody>
          </table>
        )}
      </section>
    </>
  );
}

function Row({ name, state, since, transfers, dma, devices, url, reason }: FleetHost) {
  return (
    <tr data-host={name}>
      <td>{name}</td>
      <td>
        <span class={state === 'ready' ? undefined : 'wrong'} data-state={state}>
          {state}
        </span>
      </td>
      <td data-label="since">
        {since !== null && formatTime(new Date(since), new Date(now.value))}
      </td>
      <td class="number" data-label="transfers">
        {transfers.toLocaleString('en')}
      </td>
      <td data-label="copies by">{dma ? 'DMA and CPU' : 'CPU'}</td>
      <td>
        {devices.map((device) => (
          <>
            <a
              key={device}
              href={formatRoute({ view: 'transfers', query: { device: `${name}/${device}` } })}
            >
              {device}
            </a>{' '}
          </>
        ))}
      </td>
      <td class="mono">{url}</td>
      <td class="quiet">{reason}</td>
    </tr>
  );
}
