// SPDX-License-Identifier: Apache-2.0
import { useRef } from 'preact/hooks';
import type { Engines } from '../../client/types.ts';
import { formatBytes, formatCount, formatRate } from '../model/format.ts';
import { addSample, rateOf, type Sample } from '../model/rate.ts';

type Channel = Engines['dma']['channels'][number];

const ERROR_WORDS = ['read', 'write', 'aborted', 'lost', 'timeout'] as const;

/** Each DMA channel: how it stands, and what it has done since the module found it. */
export function Channels({ channels }: { channels: readonly Channel[] }) {
  const samples = useRef(new Map<string, readonly Sample[]>());
  const at = performance.now();
  for (const { name, bytes } of channels) {
    samples.current.set(name, addSample(samples.current.get(name) ?? [], { at, bytes }));
  }
  return (
    <section class="panel scroll" aria-label="DMA channels" tabIndex={0}>
      <h2>DMA channels</h2>
      <table>
        <thead>
          <tr>
            <th scope="col">Channel</th>
            <th scope="col">Driver</th>
            <th scope="col">State</th>
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
              <td class="number">
                {formatRate(rateOf(samples.current.get(channel.name) ?? [], at) ?? 0)}
              </td>
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
