// SPDX-License-Identifier: Apache-2.0
import { alertsOf } from '../model/alerts.ts';
import { formatBytes, formatNanoseconds, formatRate, formatTime } from '../model/format.ts';
import { type MetricSample, sumOf } from '../model/prometheus.ts';
import { type Fact, FactList } from '../parts/fact-list.tsx';
import { now } from '../state/clock.ts';
import { devices, engines, metrics, readiness, usePoll, version, whoami } from '../state/poll.ts';
import { service } from '../state/service.ts';
import { trail } from '../state/trail.ts';

export function Health() {
  const known = {
    readiness: usePoll(readiness),
    devices: usePoll(devices),
    // A gateway has none.
    engines: service.value === 'daemon' ? engines.value.value : undefined,
    metrics: usePoll(metrics),
  };
  const { ready } = known.readiness ?? {};
  return (
    <>
      <div class="view-head">
        <h1>Health</h1>
        <strong class={ready === false ? 'wrong' : undefined}>
          {ready === undefined ? 'Asking' : ready ? 'Ready: it takes transfers' : 'Not ready'}
        </strong>
      </div>
      {service.value === 'daemon' && <EnginesPoll />}
      <Alerts known={known} />
      <div class="columns">
        <Figures metrics={known.metrics} />
        <Versions />
        <Client />
      </div>
      <Trail />
    </>
  );
}

function EnginesPoll() {
  usePoll(engines);
  return null;
}

function Alerts({ known }: { known: Parameters<typeof alertsOf>[0] }) {
  const alerts = alertsOf(known);
  return (
    <section aria-label="Alerts" class="alerts">
      {alerts.length === 0 && <p class="quiet">Nothing needs attention.</p>}
      {alerts.map(({ level, text }) => (
        <p key={text} class="alert" data-level={level}>
          {text}
        </p>
      ))}
    </section>
  );
}

function Figures({ metrics: samples }: { metrics: Map<string, MetricSample[]> | undefined }) {
  const of = (name: string, labels?: Record<string, string>) =>
    samples && sumOf(samples, name, labels);
  const seconds = (name: string, labels?: Record<string, string>) => {
    const value = of(name, labels);
    return value === undefined ? '–' : formatNanoseconds(value * 1e9);
  };
  const count = (name: string, labels?: Record<string, string>) =>
    of(name, labels)?.toLocaleString('en') ?? '–';
  const bytes = (name: string) => {
    const value = of(name);
    return value === undefined ? '–' : formatBytes(value);
  };
  const syncs = of('dmad_journal_sync_seconds_count') ?? 0;
  const sync = (of('dmad_journal_sync_seconds_sum') ?? 0) / Math.max(1, syncs);
  const ofFleet = service.value === 'fleet';
  const transfers: Known = ofFleet
    ? [
        ['Hosts', count('dmad_fleet_hosts')],
        ['Succeeded', count('dmad_fleet_transfers_total', { status: 'succeeded' })],
        ['Failed', count('dmad_fleet_transfers_total', { status: 'failed' })],
      ]
    : [
        ['Transfers in flight', count('dmad_transfers_in_flight')],
        ['Transfers waiting', count('dmad_queue_depth')],
        ['Succeeded', count('dmad_transfers_total', { status: 'succeeded' })],
        ['Failed', count('dmad_transfers_total', { status: 'failed' })],
        ['Journal', bytes('dmad_journal_bytes')],
        ['Journal sync, mean', syncs === 0 ? '–' : formatNanoseconds(sync * 1e9)],
      ];
  return (
    <section class="panel" aria-label="The process">
      <h2>{ofFleet ? 'The gateway' : 'The daemon'}</h2>
      {metrics.error.value !== undefined && <p class="quiet">{metrics.error.value}</p>}
      <KnownFacts
        facts={[
          ['Event loop lag, mean', seconds('nodejs_eventloop_lag_mean_seconds')],
          ['Event loop lag, 99 %', seconds('nodejs_eventloop_lag_p99_seconds')],
          ...transfers,
          ['Memory', bytes('process_resident_memory_bytes')],
          ['Open files', count('process_open_fds')],
        ]}
      />
    </section>
  );
}

type Known = [name: string, value: string | undefined][];

/** What is not known yet has its place, so that nothing moves when it comes. */
function KnownFacts({ facts }: { facts: Known }) {
  return <FactList facts={facts.map(([name, value]): Fact => [name, value ?? '–'])} />;
}

function Versions() {
  const known = usePoll(version);
  const api = known && `${known.api.major}.${known.api.minor}`;
  const { daemon, shim, module, abi, journal } = known ?? {};
  const facts: Known =
    service.value === 'fleet'
      ? [['Gateway', known?.fleet]]
      : [
          ['Daemon', daemon],
          ['Shim', shim],
          ['Module', known && (module ?? 'not loaded')],
          ['Module ABI', abi?.toString()],
          ['Journal is kept in', journal?.persistence.replace('_', ' ')],
        ];
  return (
    <section class="panel" aria-label="Versions">
      <h2>Versions</h2>
      <KnownFacts facts={[...facts, ['Interface', api], ['Node.js', known?.node]]} />
      <p class="after">
        <a href="docs">The HTTP interface</a>
      </p>
    </section>
  );
}

/** Who this page is to the daemon. */
function Client() {
  const me = usePoll(whoami);
  const limit = (value: number | null | undefined, format: (value: number) => string) =>
    value === undefined ? undefined : value === null ? 'no limit of its own' : format(value);
  return (
    <section class="panel" aria-label="This client">
      <h2>This client</h2>
      <KnownFacts
        facts={[
          ['Name', me?.name],
          ['May', me?.scopes.join(', ')],
          [
            'Devices',
            me &&
              (me.devices?.map(({ name, access }) => `${name} (${access})`).join(', ') ?? 'all'),
          ],
          ['In flight', me?.use.transfers_in_flight.toLocaleString('en')],
          ['Most in flight', limit(me?.limits.transfers_in_flight, String)],
          ['Most bytes a second', limit(me?.limits.bytes_per_second, formatRate)],
          ['Bytes waiting', me && formatBytes(me.use.bytes_queued)],
        ]}
      />
    </section>
  );
}

/** What this tab has changed: the audit log has the same request ids. */
function Trail() {
  const entries = trail.value;
  return (
    <section class="panel scroll" aria-label="What this tab did" tabIndex={0}>
      <h2>What this tab did</h2>
      {entries.length === 0 ? (
        <p class="empty">Nothing yet.</p>
      ) : (
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              <th scope="col">Request</th>
              <th scope="col">Answer</th>
              <th scope="col">Request id, as in the audit log</th>
            </tr>
          </thead>
          <tbody>
            {entries.map(({ at, method, path, status, requestId }) => (
              <tr key={`${at} ${requestId}`}>
                <td>{formatTime(new Date(at), new Date(now.value))}</td>
                <td class="mono">
                  {method} {path}
                </td>
                <td class={status !== undefined && status < 400 ? undefined : 'wrong'}>
                  {status ?? 'none'}
                </td>
                <td class="mono">{requestId}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
