// SPDX-License-Identifier: Apache-2.0
import { type CallOptions, isOver } from '../../../client/index.ts';
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
import { adoptTransfer, isBetweenHosts, type Transfer } from '../../model/transfer.ts';
import { Bar } from '../../parts/bar.tsx';
import { Figures } from '../../parts/figures.tsx';
import { Outcome } from '../../parts/outcome.tsx';
import { Repeat } from '../../parts/repeat.tsx';
import { Status } from '../../parts/status.tsx';
import { BASE, client } from '../../state/api.ts';
import { now } from '../../state/clock.ts';
import { useOne } from '../../state/one.ts';
import { token } from '../../state/session.ts';
import { store } from '../../state/transfers.ts';
import { Blocks } from '../replications/blocks.tsx';
import { RateLimit } from '../replications/rate-limit.tsx';
import { TransferActions } from './actions.tsx';
import { Facts } from './facts.tsx';
import { Segments } from './segments.tsx';
import { Timeline } from './timeline.tsx';

/** A transfer's own page. */
export function TransferPage({ id }: { id: string }) {
  const { work: transfer, error } = useOne(store, id, askForTransfer);
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
          <TransferActions transfer={transfer} />
        </div>
      </div>
      <Progress transfer={transfer} />
      <Outcome error={transfer.error} />
      <Comparison comparison={transfer.comparison} />
      <div class="columns">
        <Replicated transfer={transfer} />
        <Timeline transfer={transfer} />
        <Facts transfer={transfer} />
        {transfer.segments !== null && <Segments segments={transfer.segments} />}
        {isBetweenHosts(transfer) && !isOver(transfer) && (
          <RateLimit
            rate={transfer.bytes_per_second ?? null}
            change={async (rate) =>
              store.applyAnswer(
                adoptTransfer<Transfer>(
                  await client.changeTransfer(transfer.id, { bytes_per_second: rate }),
                ),
                performance.now(),
              )
            }
          />
        )}
      </div>
      <Repeat
        dmactl={dmactlCommand(transfer, BASE)}
        curl={curlCommand(transfer, BASE, token.value !== undefined)}
      />
    </>
  );
}

async function askForTransfer(id: string, options: CallOptions): Promise<Transfer> {
  return adoptTransfer<Transfer>(await client.getTransfer(id, options));
}

function Progress({ transfer }: { transfer: Transfer }) {
  const { status, size, bytes_completed: bytes } = transfer;
  const running = status === 'running';
  void (running && now.value);
  const rate = running
    ? rateOf(store.samplesOf(transfer.id), performance.now())
    : transfer.throughput_bytes_per_second || undefined;
  const left = running ? timeLeft(size - bytes, rate) : undefined;
  const waiting = waitsFor(transfer);
  return (
    <section class="panel" aria-label="Progress">
      <Figures
        figures={[
          ['Progress', formatPercent(transfer.progress)],
          ['Bytes', `${formatBytes(bytes)} of ${formatBytes(size)}`],
          ['Rate', rate === undefined ? '–' : formatRate(rate)],
          isOver(transfer)
            ? ['Took', formatNanoseconds(transfer.timings.total_ns)]
            : ['Time left', left === undefined ? '–' : formatSeconds(left)],
        ]}
      />
      <Bar
        {...{ status, progress: transfer.progress }}
        use={transfer.operation === 'compare' ? 'read' : 'write'}
      />
      {waiting !== undefined && <p class="quiet after">{waiting}</p>}
    </section>
  );
}

/** Of one between a fleet's hosts, which is a replication there. */
function Replicated({ transfer }: { transfer: Transfer }) {
  const { blocks, block_size, round, consistency } = transfer;
  if (!blocks || !block_size || round === undefined || consistency === undefined) return null;
  return <Blocks replication={{ blocks, block_size, round, consistency }} />;
}

/** What a comparison found. */
function Comparison({ comparison }: Pick<Transfer, 'comparison'>) {
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
