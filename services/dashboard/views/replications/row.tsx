// SPDX-License-Identifier: Apache-2.0
import type { Replication } from '../../../client/types.ts';
import { formatBytes, formatCount, formatTime } from '../../model/format.ts';
import { rateOf, timeLeft } from '../../model/rate.ts';
import { formatRoute } from '../../model/route.ts';
import { leftText, replicationSentence, takenBy, waitsFor } from '../../model/sentence.ts';
import { type Place, Row } from '../../parts/row.tsx';
import { now } from '../../state/clock.ts';
import { replications } from '../../state/transfers.ts';
import { ReplicationActions } from './actions.tsx';

/** A replication that the page follows. */
export function LiveReplicationRow({ id, ...place }: Place & { id: string }) {
  const replication = replications.get(id)?.value;
  if (replication === undefined) return null;
  const running = replication.status === 'running';
  // Once a second, so that one that stands still is seen to.
  void (running && now.value);
  const rate = running ? rateOf(replications.samplesOf(id), performance.now()) : undefined;
  const left = timeLeft(replication.size - replication.bytes_completed, rate);
  return (
    <ReplicationRow
      {...{ replication, rate, ...place }}
      time={running ? leftText(left) : takenBy(replication)}
      actions={<ReplicationActions replication={replication} />}
    />
  );
}

export function EndedReplicationRow({
  replication,
  ...place
}: Place & { replication: Replication }) {
  return (
    <ReplicationRow {...{ replication, ...place }} rate={undefined} time={takenBy(replication)} />
  );
}

interface ReplicationRowProps extends Place {
  replication: Replication;
  rate: number | undefined;
  time: string | undefined;
  actions?: preact.ComponentChildren;
}

function ReplicationRow({ replication, ...row }: ReplicationRowProps) {
  const { id, status, progress } = replication;
  return (
    <Row
      {...{ ...row, status, progress }}
      href={formatRoute({ view: 'replications', id })}
      what={replicationSentence(replication)}
      detail={detailOf(replication)}
      use="write"
    />
  );
}

/** Why it waits, why it failed, or else what it has done. */
function detailOf(replication: Replication): string {
  const waiting = waitsFor(replication);
  if (waiting !== undefined) return waiting;
  const { error, status, blocks, bytes_on_wire: wire, round, client, labels } = replication;
  if (error !== null && status !== 'cancelled') return error.detail;
  const started = new Date(replication.started_at ?? replication.created_at);
  return [
    formatTime(started, new Date()),
    `${formatCount(blocks.equal, 'block')} equal, ${blocks.copied.toLocaleString('en')} copied`,
    `${formatBytes(wire)} on the wire`,
    ...(round > 1 ? [`round ${round}`] : []),
    ...(client === undefined ? [] : [client]),
    ...Object.entries(labels).map(([key, value]) => `${key}:${value}`),
  ].join(' · ');
}
