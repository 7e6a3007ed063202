// SPDX-License-Identifier: Apache-2.0
import { useEffect, useState } from 'preact/hooks';
import { isOver } from '../../../client/index.ts';
import type { Transfer } from '../../../client/types.ts';
import { curlCommand, dmactlCommand } from '../../model/commands.ts';
import {
  formatBytes,
  formatNanoseconds,
  formatPercent,
  formatRate,
  formatSeconds,
} from '../../model/format.ts';
import { rateOf, timeLeft } from '../../model/rate.ts';
import { sentenceOf, waitsFor } from '../../model/sentence.ts';
import { Actions } from '../../parts/actions.tsx';
import { Bar } from '../../parts/bar.tsx';
import { Command } from '../../parts/copy-text.tsx';
import { Status } from '../../parts/status.tsx';
import { BASE, client, messageOf } from '../../state/api.ts';
import { now } from '../../state/clock.ts';
import { token } from '../../state/session.ts';
import { historyEpoch, store } from '../../state/transfers.ts';
import { Facts } from './facts.tsx';
import { Segments } from './segments.tsx';
import { Timeline } from './timeline.tsx';

/** A transfer's own page. */
export function TransferPage({ id }: { id: string }) {
  const { transfer, error } = useTransfer(id);
  if (transfer === undefined) {
    return (
      <>
        <h1>Transfer</h1>
        <p class={error ? 'alert' : 'empty'}>{error ?? 'Loading'}</p>
      </>
    );
  }
  return (
    <>
      <div class="view-head">
        <h1>{sentenceOf(transfer)}</h1>
        <Status status={transfer.status} />
        <div class="form-end">
          <Actions transfer={transfer} />
        </div>
      </div>
      <Progress transfer={transfer} />
      <Outcome transfer={transfer} />
      <div class="columns">
        <Timeline transfer={transfer} />
        <Facts transfer={transfer} />
        {transfer.segments !== null && <Segments segments={transfer.segments} />}
        <Repeat transfer={transfer} />
      </div>
    </>
  );
}

/** As the stream of events has it; what it does not have is asked for. */
function useTransfer(id: string) {
  const [asked, setAsked] = useState<Transfer | undefined>(undefined);
  const [error, setError] = useState<string | undefined>(undefined);
  const followed = store.get(id)?.value;
  // The list may change before the store has it.
  void store.active.value;
  // Asked for anew when events were missed.
  const epoch = historyEpoch.value;
  useEffect(() => {
    const abort = new AbortController();
    client.getTransfer(id, { signal: abort.signal }).then(
      (transfer) => {
        setAsked(transfer);
        setError(undefined);
      },
      (failure) => {
        if (!abort.signal.aborted) setError(messageOf(failure));
      },
    );
    return () => abort.abort();
  }, [id, epoch]);
  return { transfer: followed ?? asked, error };
}

function Progress({ transfer }: { transfer: Transfer }) {
  const { status, size, bytes_completed: bytes } = transfer;
  const running = status === 'running';
  void (running && now.value);
  const rate = running
    ? rateOf(store.samplesOf(transfer.id), performance.now())
    : transfer.throughput_bytes_per_second || undefined;
  const left = running ? timeLeft(size - bytes, rate) : undefined;
  return (
    <section class="panel" aria-label="Progress">
      <dl class="figures">
        <Figure name="Progress" value={formatPercent(transfer.progress)} />
        <Figure name="Bytes" value={`${formatBytes(bytes)} of ${formatBytes(size)}`} />
        <Figure name="Rate" value={rate === undefined ? '–' : formatRate(rate)} />
        {isOver(transfer) ? (
          <Figure name="Took" value={formatNanoseconds(transfer.timings.total_ns)} />
        ) : (
          <Figure name="Time left" value={left === undefined ? '–' : formatSeconds(left)} />
        )}
      </dl>
      <Bar transfer={transfer} />
      {status === 'queued' && <p class="quiet">{waitsFor(transfer)}</p>}
    </section>
  );
}

function Figure({ name, value }: { name: string; value: string }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

/** What went wrong, or what a comparison found. */
function Outcome({ transfer: { error, comparison } }: { transfer: Transfer }) {
  if (error !== null) {
    return (
      <div class="alert problem">
        <strong>{error.title}</strong>
        <span>{error.detail}</span>
        <a href={`problems/${error.code}`} target="_blank" rel="noreferrer">
          What {error.code} means, and what to do
        </a>
      </div>
    );
  }
  if (comparison === null) return null;
  const { first_difference: first } = comparison;
  return (
    <p class="alert" data-level={comparison.equal ? 'notice' : undefined}>
      {first === null
        ? 'The ranges are equal.'
        : `The ranges differ, first at ${first.src_offset} and ${first.dst_offset}.`}
    </p>
  );
}

function Repeat({ transfer }: { transfer: Transfer }) {
  const dmactl = dmactlCommand(transfer, BASE);
  return (
    <section class="panel" aria-label="Do it again">
      <h2>Do it again</h2>
      {dmactl !== undefined && <Command name="dmactl" text={dmactl} />}
      <Command name="curl" text={curlCommand(transfer, BASE, token.value !== undefined)} />
    </section>
  );
}
