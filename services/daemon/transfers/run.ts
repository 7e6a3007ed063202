// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { Problem } from '../../http/problems/problem.ts';
import { goneProblem } from '../devices/device.ts';
import { fileProblem } from '../devices/emulated.ts';
import { submitDivided } from '../engines/division.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import type { JobListener } from '../engines/jobs-in-flight.ts';
import { type Completion, type Job, NOWHERE } from '../engines/records.ts';
import type { Feed } from './feed.ts';
import type { TransferObserver } from './observer.ts';
import type { Transfer, TransferPlan } from './transfer.ts';

export interface RunOptions {
  engine: Engine;
  dma: DmaEngine;
  feed: Feed;
  observer: TransferObserver;
  log: FastifyBaseLogger;
}

/** How a run ended: its problem is `cancelled` if {@link Run.cancel} stopped it. */
export interface RunResult {
  completion: Completion;
  /** The names of the DMA channels that copied. */
  channels: string[];
  problem: Problem | undefined;
}

/** A started transfer's jobs in the engines: submits them, counts their bytes, and says how they ended. */
export class Run {
  readonly #transfer: Transfer;
  readonly #options: RunOptions;
  #tags: readonly number[] = [];
  /** Of a transfer that both engines share, the bytes of the CPU's part that are counted already. */
  #bytesByCpu = 0;

  constructor(transfer: Transfer, options: RunOptions) {
    this.#transfer = transfer;
    this.#options = options;
  }

  /** @param onEnd is called within this call if the transfer is small */
  submit(onEnd: (result: RunResult) => void): void {
    this.#tags = this.#submit({
      progress: (bytesDone, bytesByCpu) => {
        this.#count(bytesDone, bytesByCpu);
        this.#options.feed.publish('progress', this.#transfer);
      },
      done: (completion) => {
        this.#count(completion.bytesDone, completion.bytesByCpu);
        const channels = this.#options.dma.names(completion.dma.channels);
        onEnd({ completion, channels, problem: this.#problemOf(completion) });
      },
    });
  }

  cancel(): void {
    for (const tag of this.#tags) this.#options.engine.cancel(tag);
  }

  /** Has a channel that hangs go by the transfer's timeout as it is now. */
  limitTime(): void {
    const { timeoutMs } = this.#transfer.settings;
    for (const tag of this.#tags) this.#options.engine.setTimeout(tag, timeoutMs);
  }

  #submit(listener: JobListener): readonly number[] {
    const { engine } = this.#options;
    const { choice } = this.#transfer;
    const job = jobOf(this.#transfer);
    if (choice.cpuBytes === 0) return [engine.submit(job, listener)];
    return submitDivided(engine, job, choice.cpuBytes, listener);
  }

  /** @param bytesByCpu of a transfer that both engines share */
  #count(bytesDone: number, bytesByCpu: number | undefined): void {
    const transfer = this.#transfer;
    const { observer } = this.#options;
    const byCpu = bytesByCpu === undefined ? 0 : bytesByCpu - this.#bytesByCpu;
    const byChoice = bytesDone - transfer.bytesCompleted - byCpu;
    this.#bytesByCpu += byCpu;
    transfer.bytesCompleted = bytesDone;
    if (byCpu > 0) observer.progressed(transfer, byCpu, 'cpu');
    observer.progressed(transfer, byChoice, transfer.choice.engine);
  }

  #problemOf(completion: Completion): Problem | undefined {
    const { id, plan, origin } = this.#transfer;
    const { status, dma } = completion;
    // Bytes that were copied into what nobody finds again are not where they should be. Devices are
    // looked for once a second only, so files are looked at now.
    if (status === 0) {
      return whyGone(plan) ?? fileProblem(plan.source) ?? fileProblem(plan.destination);
    }
    const failed = dma.failedChannel === undefined ? [] : [dma.failedChannel];
    const [channel] = this.#options.dma.names(failed);
    const problem = jobProblem(completion, plan.destination.name, {
      ...{ source: plan.source.name, channel },
    });
    if (problem.code === 'internal_error') {
      this.#options.log.error(
        { transfer: id, status, ...origin.trace },
        'the engine refused a job',
      );
    }
    return problem;
  }
}

/** Why a transfer's devices cannot be used any more. */
export function whyGone({ source, destination }: TransferPlan): Problem | undefined {
  return goneProblem(source) ?? goneProblem(destination);
}

function jobOf({ plan, settings, choice }: Transfer): Job {
  const { operation, pattern, source, destination } = plan;
  const { segments, flush, verify } = plan;
  const { priority, timeoutMs } = settings;
  return {
    operation,
    pattern: pattern === undefined ? undefined : Buffer.from(pattern, 'hex'),
    source: operation === 'fill' ? NOWHERE : source.handle,
    destination: destination.handle,
    engine: choice.engine,
    priority,
    segments,
    flush,
    verify,
    // For a channel that hangs; anything else is stopped by the transfer's own timer.
    timeoutMs,
  };
}
