// SPDX-License-Identifier: Apache-2.0
import type { Engines } from '../../client/types.ts';
import { formatBytes, formatCount, formatRate } from '../model/format.ts';
import { channelRates, MOST_RATES } from '../state/channels.ts';

type Channel = Engines['dma']['channels'][number];

const ERROR_WORDS = ['read', 'write', 'aborted', 'lost', 'timeout'] as const;

/** Each DMA channel: how it stands, and what it has done since the module found it. */
export function Channels({ channels }: { channels: readonly Channel[] }) {
  const rates = channelRates.value;
  return (
    <section class="panel scroll" aria-label="DMA channels" tabIndex={0}>
      <h2>DMA channels</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">Channel</th>
            <th scope="col">Driver</th>
            <th scope="col">State</th>
            <th scope="col">Last 3 minutes</th>
            <th scope="col" class="number">
              Rate
            </th>
            <th scope="col" class="number">
              In flight
            </th>
            <th scope="col" class="number">
              Copied
            </th>
            <th scope="col" class="number">
              Operations
            </th>
            <th scope="col">Errors</th>
            <th scope="col" class="number">
              Recoveries
            </th>
          </tr>
        </thead>
        <tbody>
          {channels.map((channel) => (
            <tr key={channel.name}>
              <td>{channel.name}</td>
              <td>{channel.driver}</td>
              <td class={channel.state === 'ready' ? undefined : 'wrong'}>
                {channel.state.replace('_', ' ')}
              </td>
              <td>
                <Sparkline rates={rates.get(channel.name) ?? []} />
              </td>
              <td class="number">{formatRate(rates.get(channel.name)?.at(-1) ?? 0)}</td>
              <td class="number">{channel.in_flight}</td>
              <td class="number">{formatBytes(channel.bytes)}</td>
              <td class="number">{channel.operations.toLocaleString('en')}</td>
              <td class={channel.errors > 0 ? 'wrong' : 'quiet'}>{errorsOf(channel)}</td>
              <td class="number">{channel.recoveries}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function errorsOf({ errors, errors_by_kind: kinds }: Channel): string {
  if (errors === 0) return 'none';
  const parts = ERROR_WORDS.filter((kind) => kinds[kind] > 0).map(
    (kind) => `${kinds[kind]} ${kind}`,
  );
  return `${formatCount(errors, 'error')}: ${parts.join(', ')}`;
}

/** How a rate went, from left to right, by its own highest. */
function Sparkline({ rates }: { rates: readonly number[] }) {
  const most = Math.max(1, ...rates);
  const first = MOST_RATES - rates.length;
  const points = rates.map((rate, index) => `${first + index},${1 - rate / most}`);
  return (
    <svg
      class="sparkline"
      viewBox={`0 -0.1 ${MOST_RATES - 1} 1.2`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      <polyline points={points.join(' ')} vector-effect="non-scaling-stroke" />
    </svg>
  );
}
