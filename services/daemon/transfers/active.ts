// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { goneProblem } from '../devices/device.ts';
import type { EngineChooser } from '../engines/choice.ts';
import { submitDivided } from '../engines/division.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Engine, JobListener } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import type { Completion, Job, Segment } from '../engines/records.ts';
import type { Journal } from '../journal/journal.ts';
import type { Access } from '../order/precedence.ts';
import type { Ticket } from '../order/scheduler.ts';
import { type Start, transferLane, type WorkQueue } from '../order/work-queue.ts';
import { Problem, retryLater } from '../problems/problem.ts';
import type { Archive } from './archive.ts';
import type { Feed } from './feed.ts';
import { reportEnd, type TransferObserver } from './observer.ts';
import { acceptedRows, begunRows, endedRows } from './record.ts';
import { touchesItself, whyNotAgain } from './recovery.ts';
import type { Outcome, Transfer, TransferPlan } from './transfer.ts';

/** What a transfer meets on its way. */
export interface Surroundings {
  engine: Engine;
  chooser: EngineChooser;
  dma: DmaEngine;
  queue: WorkQueue;
  journal: Journal;
  archive: Archive;
  feed: Feed;
  observer: TransferObserver;
  log: FastifyBaseLogger;
  /** It is over, or left to the next daemon; called before anybody else is told. */
  left(transfer: Transfer): void;
}

/** A transfer that is not over: waits for its turn and for the journal, runs, and ends. */
export class ActiveTransfer {
  readonly transfer: Transfer;
  readonly #around: Surroundings;
  #ticket: Ticket<Start> | undefined;
  /** The engine's names for its jobs, once it runs. */
  #tags: readonly number[] | undefined;
  /** Why it was told to stop; `suspended`: to begin anew when the daemon runs again. */
  #stopped: Problem | 'suspended' | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Whether the journal has it, or is about to: then its end must get there too. */
  #journaled: boolean;
  #accepting: Promise<void> | undefined;
  #keeping: Promise<void> | undefined;
  /** Its turn has come; only the journal keeps it waiting. */
  #due = false;
  /** It has stopped, and only its end is not in the journal yet. */
  #ending = false;

  /** @param journaled whether the journal has it already */
  constructor(transfer: Transfer, around: Surroundings, journaled: boolean) {
    this.transfer = transfer;
    this.#around = around;
    this.#journaled = journaled;
  }

  /** While it is on its way into the journal, before it may start. */
  get accepting(): Promise<void> | undefined {
    return this.#accepting;
  }

  /** While it is on its way into the journal, and may yet fail to get there. */
  get journaling(): Promise<void> | undefined {
    return this.#accepting ?? this.#keeping;
  }

  /** Gives it its place in the order; it may start, and end, before this returns. */
  place(): void {
    const { transfer } = this;
    const { queue } = this.#around;
    this.#ticket = queue.add(
      () => this.#start(),
      accessesOf(transfer.plan),
      transferLane(transfer.plan.priority, transfer.plan.bytes),
      transfer.origin.client,
      transfer.plan.bytes,
    );
    // What ended within add() could not be released by a ticket that was not there yet.
    if (transfer.over) queue.release(this.#ticket);
  }

  /**
   * Gives it its place in the order, and puts it into the journal. It does not start before
   * {@link accepted}.
   *
   * @returns once it is in the journal
   * @throws Problem where it cannot be: {@link withdraw} it
   */
  placeJournaled(): Promise<void> {
    this.#journaled = true;
    this.transfer.promised = true;
    this.#accepting = this.#around.journal.add(acceptedRows(this.transfer, false));
    this.place();
    return this.#accepting;
  }

  /** Takes it out of the order, where it was not accepted. */
  withdraw(): void {
    if (this.#ticket !== undefined) this.#around.queue.release(this.#ticket);
  }

  /** Lets it start, as soon as its turn comes. */
  accepted(): void {
    this.#accepting = undefined;
    if (this.#due) this.#start();
  }

  /** Stops it once its time is up, where its client has set one. */
  limitTime(): void {
    const { plan, ageMs } = this.transfer;
    if (plan.timeoutMs === undefined) return;
    this.#timer = setTimeout(
      () => {
        const detail = `It did not end within ${plan.timeoutMs} ms of its acceptance.`;
        this.stop(new Problem('timeout', detail));
      },
      Math.max(0, plan.timeoutMs - ageMs),
    );
  }

  /** Puts it into the journal, wherever it is on its way. @throws Problem where that cannot be */
  async keep(): Promise<void> {
    if (this.#journaled) return;
    this.#journaled = true;
    this.transfer.promised = true;
    this.#keeping = this.#around.journal.add(acceptedRows(this.transfer, this.#tags !== undefined));
    try {
      await this.#keeping;
    } catch (error) {
      this.#journaled = false;
      throw error;
    } finally {
      this.#keeping = undefined;
    }
  }

  /** Has it end for that reason, unless it ends for another one. */
  stop(reason: Problem | 'suspended'): void {
    if (this.#stopped !== undefined || this.#ending) return;
    this.#stopped = reason;
    if (this.#tags !== undefined) for (const tag of this.#tags) this.#around.engine.cancel(tag);
    else if (reason === 'suspended') this.#suspend();
    else this.#end(undefined, reason);
  }

  /** Stops it for the daemon's end, and leaves it to the next one where that can run it again. */
  interrupt(): void {
    const history = {
      begun: this.#tags !== undefined,
      touchesItself: touchesItself(this.transfer.plan),
      doubt: undefined,
    };
    const again = this.#journaled && whyNotAgain(history) === undefined;
    const reason = 'The daemon shut down before the transfer ended: send it again.';
    this.stop(again ? 'suspended' : retryLater('interrupted', reason));
  }

  /** Its turn has come. */
  #start(): void {
    this.#due = true;
    // One that was told to stop keeps its place until its end is in the journal.
    if (this.#accepting !== undefined || this.#stopped !== undefined) return;
    if (!this.#journaled || !touchesItself(this.transfer.plan)) {
      this.#submit();
      return;
    }
    // After a crash nothing else would tell whether it has overwritten its own source.
    void this.#around.journal.settle(begunRows(this.transfer)).then(() => {
      if (this.#stopped === undefined) this.#submit();
    });
  }

  #submit(): void {
    const { transfer } = this;
    const { chooser, feed, observer } = this.#around;
    const { source, destination, priority, segments, flush, verify, timeoutMs } = transfer.plan;
    const gone = whyGone(transfer.plan);
    if (gone !== undefined) {
      this.#end(undefined, gone);
      return;
    }
    try {
      transfer.start(chooser.choose(transfer.plan));
    } catch (error) {
      // There was one when it was accepted.
      const { message } = error as Problem;
      this.#end(undefined, new Problem('dma_error', message));
      return;
    }
    feed.publish('status', transfer);
    const job: Job = {
      source: source.handle,
      destination: destination.handle,
      engine: transfer.choice.engine,
      priority,
      segments,
      flush,
      verify,
      // For a channel that hangs; anything else is stopped by the timer.
      ...(timeoutMs !== undefined && { timeoutMs }),
    };
    this.#tags = this.#hand(job, {
      progress: (bytesDone) => {
        observer.progressed(transfer, bytesDone - transfer.bytesCompleted);
        transfer.bytesCompleted = bytesDone;
        feed.publish('progress', transfer);
      },
      done: (completion) => this.#complete(completion),
    });
  }

  #hand(job: Job, listener: JobListener): readonly number[] {
    const { engine } = this.#around;
    const { cpuBytes } = this.transfer.choice;
    if (cpuBytes === 0) return [engine.submit(job, listener)];
    const segments = job.segments as readonly [Segment];
    return submitDivided(engine, { ...job, segments }, cpuBytes, listener);
  }

  #complete(completion: Completion): void {
    if (completion.status === 0) {
      // Bytes that were copied into what nobody finds again are not where they should be.
      this.#end(completion, whyGone(this.transfer.plan));
      return;
    }
    const { failedChannel } = completion.dma;
    const [channel] = this.#around.dma.names(failedChannel === undefined ? [] : [failedChannel]);
    const problem = jobProblem(completion, this.transfer.plan.destination.name, channel);
    if (problem.code === 'internal_error') {
      const { status } = completion;
      this.#around.log.error({ transfer: this.transfer.id, status }, 'the engine refused a job');
    }
    if (problem.code !== 'cancelled' || this.#stopped === undefined) {
      this.#end(completion, problem);
    } else if (this.#stopped === 'suspended') {
      this.#suspend();
    } else {
      this.#end(completion, this.#stopped);
    }
  }

  /**
   * It has stopped. What is in the journal ends once its end is there too, and keeps its place in
   * the order until then: see recovery.ts.
   */
  #end(completion: Completion | undefined, error: Problem | undefined): void {
    const { transfer } = this;
    const { archive, dma, journal } = this.#around;
    const channels = dma.names(completion?.dma.channels ?? []);
    const outcome = transfer.outcome(completion, error, channels);
    this.#ending = true;
    clearTimeout(this.#timer);
    if (!this.#journaled) {
      archive.add(transfer);
      this.#finish(outcome);
      return;
    }
    void journal.settle(endedRows(transfer, outcome)).then(() => this.#finish(outcome));
  }

  #finish(outcome: Outcome): void {
    const { transfer } = this;
    const before = transfer.bytesCompleted;
    transfer.finish(outcome);
    this.#around.left(transfer);
    this.#around.observer.progressed(transfer, transfer.bytesCompleted - before);
    reportEnd(this.#around, transfer);
    this.#letOthersGoOn();
  }

  /** It is over for this daemon, and left to the next. */
  #suspend(): void {
    clearTimeout(this.#timer);
    this.transfer.suspend();
    this.#around.left(this.transfer);
    this.#letOthersGoOn();
  }

  #letOthersGoOn(): void {
    this.#around.feed.publish('status', this.transfer);
    if (this.#ticket !== undefined) this.#around.queue.release(this.#ticket);
  }
}

function whyGone({ source, destination }: TransferPlan): Problem | undefined {
  return goneProblem(source) ?? goneProblem(destination);
}

function accessesOf({ source, destination, segments }: TransferPlan): Access[] {
  const accesses: Access[] = [];
  addAccesses(accesses, segments, source.handle, false);
  addAccesses(accesses, segments, destination.handle, true);
  return accesses;
}

/** Segments that lie one behind the other, as most do, make one access. */
function addAccesses(
  accesses: Access[],
  segments: readonly Segment[],
  device: number,
  write: boolean,
): void {
  let last: Required<Access> | undefined;
  for (const { src_offset, dst_offset, size } of segments) {
    const offset = write ? dst_offset : src_offset;
    if (last !== undefined && offset === last.offset + last.size) {
      last.size += size;
      last.pieces++;
    } else {
      last = { device, offset, size, write, pieces: 1 };
      accesses.push(last);
    }
  }
}
