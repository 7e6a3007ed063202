// SPDX-License-Identifier: Apache-2.0
import type { Engines as EnginesDocument } from '../../client/types.ts';
import { formatBytes, formatNanoseconds, formatRate } from '../model/format.ts';
import { BandwidthChart } from '../parts/bandwidth-chart.tsx';
import { engines, usePoll } from '../state/poll.ts';
import { Channels } from './channels.tsx';

export function Engines() {
  const known = usePoll(engines);
  return (
    <>
      <div class="view-head">
        <h1>Engines</h1>
      </div>
      {engines.error.value !== undefined && <p class="alert">{engines.error.value}</p>}
      <BandwidthChart dma={known?.dma.available ?? false} />
      {known !== undefined && (
        <>
          <div class="columns">
            <Cpu cpu={known.cpu} />
            <Dma dma={known.dma} />
            <Auto auto={known.auto} />
          </div>
          {known.dma.channels.length > 0 && <Channels channels={known.dma.channels} />}
        </>
      )}
    </>
  );
}

function Cpu({ cpu }: Pick<EnginesDocument, 'cpu'>) {
  return (
    <section class="panel" aria-label="CPU">
      <h2>CPU</h2>
      <dl class="facts">
        <dt>State</dt>
        <dd>{cpu.available ? 'available' : 'not available'}</dd>
        <dt>Threads</dt>
        <dd>{cpu.threads}</dd>
        <dt>Instructions</dt>
        <dd>{cpu.instruction_set}</dd>
        <dt>Bypasses caches</dt>
        <dd>from {formatBytes(cpu.stream_from_bytes)} on</dd>
      </dl>
    </section>
  );
}

function Dma({ dma }: Pick<EnginesDocument, 'dma'>) {
  return (
    <section class="panel" aria-label="DMA">
      <h2>DMA</h2>
      <dl class="facts">
        <dt>State</dt>
        <dd>{dma.available ? 'available' : 'not available'}</dd>
        <dt>Why</dt>
        <dd>{dma.reason}</dd>
        <dt>Module</dt>
        <dd>{dma.module_version ?? 'not loaded'}</dd>
        <dt>Channels</dt>
        <dd>{dma.channels.length}</dd>
        {dma.refused.map(({ device, driver, reason }) => (
          <>
            <dt key={device}>Refused</dt>
            <dd key={`${device} why`}>
              {device} ({driver}): {reason}
            </dd>
          </>
        ))}
      </dl>
    </section>
  );
}

/** What `engine: auto` goes by. */
function Auto({ auto }: Pick<EnginesDocument, 'auto'>) {
  const { dma_from_bytes: dma, both_from_bytes: both, calibration } = auto;
  return (
    <section class="panel" aria-label="How auto chooses">
      <h2>How auto chooses</h2>
      <dl class="facts">
        <dt>DMA copies</dt>
        <dd>{dma === null ? 'nothing: the CPU copies all' : `from ${formatBytes(dma)} on`}</dd>
        <dt>Both share</dt>
        <dd>{both === null ? 'nothing' : `from ${formatBytes(both)} on`}</dd>
        <dt>Measured</dt>
        <dd>
          {calibration === null
            ? 'never on this host'
            : `${calibration.measured_at}, ${calibration.device_name ?? "in the daemon's memory"}`}
        </dd>
        {calibration !== null &&
          (['cpu', 'dma', 'both'] as const).map((name) => {
            const speed = calibration[name];
            if (speed === null) return null;
            return (
              <>
                <dt key={name}>{name === 'both' ? 'Both' : name.toUpperCase()}</dt>
                <dd key={`${name} speed`}>
                  {formatRate(speed.bytes_per_second)}, {formatNanoseconds(speed.latency_ns)} at
                  least
                </dd>
              </>
            );
          })}
      </dl>
    </section>
  );
}
