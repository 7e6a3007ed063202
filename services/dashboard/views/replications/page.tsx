// SPDX-License-Identifier: Apache-2.0
import { type CallOptions, isOver } from '../../../client/index.ts';
import type { Replication } from '../../../client/types.ts';
import { replicationCurl, replicationDmactl } from '../../model/commands.ts';
import {
  describeBytes,
  formatBytes,
  formatOffset,
  formatPercent,
  formatRate,
  formatSeconds,
} from '../../model/format.ts';
import { rateOf, timeLeft } from '../../model/rate.ts';
import { replicationSentence, takenBy, waitsFor } from '../../model/sentence.ts';
import { Bar } from '../../parts/bar.tsx';
import { FactList } from '../../parts/fact-list.tsx';
import { Figures } from '../../parts/figures.tsx';
import { Outcome } from '../../parts/outcome.tsx';
import { Repeat } from '../../parts/repeat.tsx';
import { Status } from '../../parts/status.tsx';
import { BASE, client } from '../../state/api.ts';
import { now } from '../../state/clock.ts';
import { useOne } from '../../state/one.ts';
import { token } from '../../state/session.ts';
import { replications } from '../../state/transfers.ts';
import { ReplicationActions } from './actions.tsx';
import { Blocks } from './blocks.tsx';
import { RateLimit } from './rate-limit.tsx';

function askForReplication(id: string, options: CallOptions): Promise<Replication> {
  return client.getReplication(id, options);
}

/** A replication's own page. */
export function ReplicationPage({ id }: { id: string }) {
  const { work: replication, error } = useOne(replications, id, askForReplication);
  if (replication === undefined) {
    return (
      <>
        <h1>Replication</h1>
        <p class={error ? 'alert' : 'empty'}>{error ?? 'Loading'}</p>
      </>
    );
  }
  return (
    <>
      <div class="view-head">
        <h1>{replicationSentence(replication)}</h1>
        <Status status={replication.status} />
        <div class="form-end">
          <ReplicationActions replication={replication} />
        </div>
      </div>
      <Progress replication={replication} />
      <Outcome error={replication.error} />
      <div class="columns">
        <Blocks replication={replication} />
        <Facts replication={replication} />
        {!isOver(replication) && (
          <RateLimit
            rate={replication.bytes_per_second}
            change={async (rate) =>
              replications.applyAnswer(
                await client.changeReplication(replication.id, { bytes_per_second: rate }),
                performance.now(),
              )
            }
          />
        )}
      </div>
      <Repeat
        dmactl={replicationDmactl(replication, BASE)}
        curl={replicationCurl(replication, BASE, token.value !== undefined)}
      />
    </>
  );
}

function Progress({ replication }: { replication: Replication }) {
  const { id, status, size, bytes_completed: bytes, bytes_on_wire: wire } = replication;
  const running = status === 'running';
  void (running && now.value);
  const rate = running ? rateOf(replications.samplesOf(id), performance.now()) : undefined;
  const left = running ? timeLeft(size - bytes, rate) : undefined;
  const waiting = waitsFor(replication);
  return (
    <section class="panel" aria-label="Progress">
      <Figures
        figures={[
          ['Progress', formatPercent(replication.progress)],
          ['Bytes', `${formatBytes(bytes)} of ${formatBytes(size)}`],
          ['On the wire', formatBytes(wire)],
          ['Rate', rate === undefined ? '–' : formatRate(rate)],
          isOver(replication)
            ? ['Took', takenBy(replication) ?? '–']
            : ['Time left', left === undefined ? '–' : formatSeconds(left)],
        ]}
      />
      <Bar {...{ status, progress: replication.progress }} use="write" />
      {waiting !== undefined && <p class="quiet after">{waiting}</p>}
    </section>
  );
}

function Facts({ replication }: { replication: Replication }) {
  const { src_device_name: source, dst_device_name: destination, durability } = replication;
  const labels = Object.entries(replication.labels).map(([key, value]) => `${key}: ${value}`);
  const limit = replication.bytes_per_second;
  const { requested, achieved, basis } = durability;
  return (
    <section class="panel" aria-label="Facts">
      <h2>Facts</h2>
      <FactList
        facts={[
          ['Id', <code key="id">{replication.id}</code>],
          ['Peer', replication.peer],
          ['From', `${source} at ${formatOffset(replication.src_offset)}`],
          ['To', `${destination} at ${formatOffset(replication.dst_offset)}`],
          ['Size', describeBytes(replication.size)],
          ['Mode', replication.mode === 'delta' ? 'delta: only what differs' : 'full: all of it'],
          ['Rate limit', limit === null ? 'none' : formatRate(limit)],
          ['Priority', replication.priority],
          ['Timeout', replication.timeout_ms && `${replication.timeout_ms / 1000} s`],
          [
            'Durability',
            isOver(replication)
              ? `${requested} asked for, ${achieved} achieved${basis === null ? '' : ` by ${basis}`}`
              : `${requested} asked for`,
          ],
          ['Client', replication.client],
          ['Labels', labels.join(', ')],
          ['Accepted', replication.created_at],
          ['Started', replication.started_at],
          ['Ended', replication.finished_at],
          ['Trace', replication.traceparent],
        ]}
      />
    </section>
  );
}
