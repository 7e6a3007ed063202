// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import type { EngineChooser } from '../engines/choice.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import type { Completion } from '../engines/records.ts';
import type { Journal } from '../journal/journal.ts';
import type { Access, Ticket } from '../order/scheduler.ts';
import { type Start, transferLane, type WorkQueue } from '../order/work-queue.ts';
import { Problem, retryLater } from '../problems/problem.ts';
import { Archive } from './archive.ts';
import { Feed } from './feed.ts';
import { History, type Page } from './history.ts';
import { IdempotencyKeys } from './idempotency.ts';
import { TransferIds } from './ids.ts';
import { acceptedRows, begunRows, endedRows } from './record.ts';
import { type Recovered, touchesItself, whyNotAgain } from './recovery.ts';
import type { TransferListQuery } from './schema.ts';
import { type Origin, type Outcome, Transfer, type TransferPlan } from './transfer.ts';

/** As many as an operator looks through, and a week for those who come back from one. */
const HISTORY = { transfers: 10_000, segments: 262_144, ms: 7 * 24 * 3600 * 1000 };
const FORGET_EVERY_MS = 60_000;

/** A transfer that is not over. */
interface Active {
  readonly transfer: Transfer;
  ticket: Ticket<Start> | undefined;
  /** The engine's name for it, once it runs. */
  tag: number | undefined;
  /** Why it was told to stop; `suspended`: to begin anew when the daemon runs again. */
  stop: Problem | 'suspended' | undefined;
  timer: NodeJS.Timeout | undefined;
  /** Whether the journal has it, or is about to: then its end must get there too. */
  journaled: boolean;
  /** While it is on its way into the journal, before it may start. */
  accepting: Promise<void> | undefined;
  /** Its turn has come; only the journal keeps it waiting. */
  due: boolean;
  /** It has stopped, and only its end is not in the journal yet. */
  ending: boolean;
}

export interface TransferServiceOptions {
  engine: Engine;
  chooser: EngineChooser;
  dma: DmaEngine;
  queue: WorkQueue;
  journal: Journal;
  log: FastifyBaseLogger;
  observer: TransferObserver;
}

/** Hears of what is worth counting. */
export interface TransferObserver {
  /** @param bytes that were copied since it last heard of that transfer */
  progressed(transfer: Transfer, bytes: number): void;
  /** After the last bytes of it. */
  finished(transfer: Transfer): void;
}

/** Accepts transfers, sees them through, and knows how each of them stands. */
export class TransferService {
  readonly feed = new Feed();
  readonly #options: TransferServiceOptions;
  readonly #ids = new TransferIds();
  readonly #archive: Archive;
  readonly #history: History;
  readonly #keys = new IdempotencyKeys({
    now: () => performance.now(),
    onForget: (transfer) => this.#history.release(transfer),
  });
  readonly #forgetting: NodeJS.Timeout;
  readonly #active = new Map<string, Active>();
  #running = 0;

  constructor(options: TransferServiceOptions) {
    this.#options = options;
    this.#archive = new Archive(options.journal);
    this.#history = new History(HISTORY, (transfer) => this.#archive.remove(transfer));
    this.#forgetting = setInterval(() => {
      this.#keys.forgetExpired();
      this.#history.forgetOld();
    }, FORGET_EVERY_MS).unref();
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#active.size - this.#running;
  }

  /**
   * Accepts a transfer; it may have started, though not ended, when this resolves.
   *
   * @param journaled whether it must be in the journal by then, and before it starts; one with an
   *   Idempotency-Key always is
   * @returns the transfer, or the one that the same request with the same key made before
   * @throws Problem where it is not accepted; then nothing is kept of it
   */
  async create(
    plan: TransferPlan,
    origin: Origin,
    journaled: boolean,
  ): Promise<{ transfer: Transfer; replayed: boolean }> {
    const { client, key } = origin;
    const known = key === undefined ? undefined : this.#keys.find(client, key, plan);
    if (known !== undefined) {
      await this.#active.get(known.id)?.accepting;
      return { transfer: known, replayed: true };
    }
    this.#options.queue.admitTransfer(client);

    const transfer = new Transfer(this.#ids.next(), plan, origin);
    this.#keys.remember(transfer);
    const active = newActive(transfer, journaled || key !== undefined);
    if (active.journaled) {
      active.accepting = this.#options.journal.add(acceptedRows(transfer, false));
      this.#place(active);
      await this.#accept(active);
    } else {
      this.#show(active);
      this.#place(active);
    }
    return { transfer, replayed: false };
  }

  /**
   * Sees to it that a transfer outlives the daemon, before its client is told that it goes on. One
   * that cannot be kept is stopped. @returns once it is in the journal, or over
   */
  async keep(transfer: Transfer): Promise<void> {
    const active = this.#active.get(transfer.id);
    if (active === undefined || active.journaled) return;
    active.journaled = true;
    try {
      await this.#options.journal.add(acceptedRows(transfer, active.tag !== undefined));
    } catch (error) {
      active.journaled = false;
      this.#stop(active, error as Problem);
      await this.waitForEnd(transfer);
      // Where it had ended already, its end has come into the journal without its beginning.
      this.#archive.add(transfer);
    }
  }

  /**
   * Takes up what an earlier daemon left, in the order in which that accepted it. To be called
   * before anything is created.
   *
   * @returns once what becomes of it is in the journal
   */
  async takeUp(left: readonly Recovered[]): Promise<void> {
    const interrupted = new Map<string, string>();
    for (const { transfer } of left) this.#ids.passOver(transfer.id);
    for (const recovered of left) {
      const { transfer } = recovered;
      if (recovered.kind === 'interrupted') {
        const outcome = transfer.outcome(undefined, recovered.error);
        for (const [key, row] of endedRows(transfer, outcome)) interrupted.set(key, row as string);
        transfer.finish(outcome);
        this.#options.observer.finished(transfer);
        this.#logEnd(transfer);
      }
      this.#history.add(transfer, this.#keys.remember(transfer, transfer.ageMs));
    }
    const over = left.filter(({ kind }) => kind !== 'again').map(({ transfer }) => transfer);
    // The first to end is the first to be forgotten.
    over.sort((a, b) => b.overForMs - a.overForMs);
    for (const transfer of over) this.#history.finish(transfer);
    await this.#options.journal.settle(interrupted);
    for (const { kind, transfer } of left) {
      if (kind !== 'again') continue;
      const active = newActive(transfer, true);
      this.#active.set(transfer.id, active);
      this.#setTimeout(active);
      this.#place(active);
    }
  }

  /** @throws Problem not_found, where it is another client's too */
  get(id: string, client: string): Transfer {
    const transfer = this.#history.get(id);
    if (transfer?.origin.client !== client) {
      throw new Problem('not_found', 'There is no such transfer, or it ended too long ago.');
    }
    return transfer;
  }

  /** @throws Problem invalid_request for a page token that does not fit */
  list(query: TransferListQuery, client: string): Page {
    return this.#history.page(query, client);
  }

  /** @returns once the transfer is over, or left to the next daemon, or `waitMs` have passed */
  async waitForEnd(transfer: Transfer, waitMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (!this.#active.has(transfer.id) || waitMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = Number.isFinite(waitMs) ? setTimeout(end, waitMs) : undefined;
      const unsubscribe = this.feed.subscribe(transfer.id, () => {
        if (!this.#active.has(transfer.id)) end();
      });
      function end() {
        clearTimeout(timer);
        unsubscribe();
        resolve();
      }
    });
  }

  /**
   * Stops a transfer.
   *
   * @returns once it has stopped
   * @throws Problem not_found; not_cancellable where it was over, or was quicker
   */
  async cancel(id: string, client: string): Promise<Transfer> {
    const transfer = this.get(id, client);
    const active = this.#active.get(id);
    if (active !== undefined) {
      this.#stop(active, new Problem('cancelled', 'It was cancelled by a client.'));
      await this.waitForEnd(transfer);
    }
    if (active === undefined || transfer.status !== 'cancelled') {
      throw new Problem('not_cancellable', `The transfer is over: ${transfer.status}.`, {
        members: { transfer },
      });
    }
    return transfer;
  }

  /**
   * Stops all that is not over. What the journal has is left for the next daemon, unless that could
   * not run it again; the rest is interrupted. @returns once it has stopped
   */
  async interrupt(): Promise<void> {
    const reason = 'The daemon shut down before the transfer ended: send it again.';
    this.#options.journal.letGo();
    await Promise.allSettled([...this.#active.values()].map(({ accepting }) => accepting));
    const left = [...this.#active.values()];
    for (const active of left) {
      const { transfer, journaled, tag } = active;
      const history = {
        begun: tag !== undefined,
        touchesItself: touchesItself(transfer.plan),
        doubt: undefined,
      };
      const again = journaled && whyNotAgain(history) === undefined;
      this.#stop(active, again ? 'suspended' : retryLater('interrupted', reason));
    }
    await Promise.all(left.map(({ transfer }) => this.waitForEnd(transfer)));
  }

  /** Hands to the journal what it has not been given yet. */
  close(): void {
    clearInterval(this.#forgetting);
    this.#archive.close();
  }

  /** Sees that a transfer gets into the journal, and lets it go on. @throws Problem */
  async #accept(active: Active): Promise<void> {
    const { transfer, accepting, ticket } = active;
    try {
      await accepting;
    } catch (error) {
      this.#active.delete(transfer.id);
      this.#keys.forget(transfer);
      if (ticket !== undefined) this.#options.queue.release(ticket);
      throw error;
    }
    active.accepting = undefined;
    this.#show(active);
    if (active.due) this.#start(active);
  }

  /** From now on it can be asked for. */
  #show(active: Active): void {
    const { transfer } = active;
    this.#history.add(transfer, transfer.origin.key !== undefined);
    this.#active.set(transfer.id, active);
    this.#setTimeout(active);
    this.feed.publish('status', transfer);
  }

  /** Gives it its place in the order; it may start, and end, before this returns. */
  #place(active: Active): void {
    const { transfer } = active;
    this.#active.set(transfer.id, active);
    active.ticket = this.#options.queue.add(
      () => this.#start(active),
      accessesOf(transfer.plan),
      transferLane(transfer.plan.priority, transfer.plan.bytes),
      transfer.origin.client,
      transfer.plan.bytes,
    );
    // What ended within add() could not be released by a ticket that was not there yet.
    if (transfer.over) this.#options.queue.release(active.ticket);
  }

  #setTimeout(active: Active): void {
    const { plan, ageMs } = active.transfer;
    if (plan.timeoutMs === undefined) return;
    active.timer = setTimeout(
      () => {
        const detail = `It did not end within ${plan.timeoutMs} ms of its acceptance.`;
        this.#stop(active, new Problem('timeout', detail));
      },
      Math.max(0, plan.timeoutMs - ageMs),
    );
  }

  /** Its turn has come. */
  #start(active: Active): void {
    active.due = true;
    if (active.accepting !== undefined) return;
    const { transfer, journaled } = active;
    if (!journaled || !touchesItself(transfer.plan)) {
      this.#submit(active);
      return;
    }
    // After a crash nothing else would tell whether it has overwritten its own source.
    void this.#options.journal.settle(begunRows(transfer)).then(() => {
      if (active.stop === undefined) this.#submit(active);
    });
  }

  #submit(active: Active): void {
    const { transfer } = active;
    const { source, destination, requestedEngine, priority, segments, flush, verify, timeoutMs } =
      transfer.plan;
    try {
      transfer.start(this.#options.chooser.choose(requestedEngine, source, destination));
    } catch (error) {
      // There was one when it was accepted.
      const { message } = error as Problem;
      this.#end(active, undefined, new Problem('dma_error', message));
      return;
    }
    this.#running++;
    this.feed.publish('status', transfer);
    try {
      active.tag = this.#options.engine.submit(
        {
          source: source.handle,
          destination: destination.handle,
          engine: transfer.choice.engine,
          priority,
          segments,
          flush,
          verify,
          // For a channel that hangs; anything else is stopped by the timer.
          ...(timeoutMs !== undefined && { timeoutMs }),
        },
        {
          progress: (bytesDone) => {
            this.#options.observer.progressed(transfer, bytesDone - transfer.bytesCompleted);
            transfer.bytesCompleted = bytesDone;
            this.feed.publish('progress', transfer);
          },
          done: (completion) => this.#complete(active, completion),
        },
      );
    } catch (error) {
      this.#options.log.error({ err: error, transfer: transfer.id }, 'the engine refused a job');
      this.#end(active, undefined, new Problem('internal_error', 'The engine refused the copy.'));
    }
  }

  #complete(active: Active, completion: Completion): void {
    if (completion.status === 0) {
      this.#end(active, completion, undefined);
      return;
    }
    const { dma } = this.#options;
    const { failedChannel } = completion.dma;
    const [channel] = dma.names(failedChannel === undefined ? [] : [failedChannel]);
    const problem = jobProblem(completion, active.transfer.plan.destination.name, channel);
    if (problem.code !== 'cancelled' || active.stop === undefined) {
      this.#end(active, completion, problem);
    } else if (active.stop === 'suspended') {
      this.#suspend(active);
    } else {
      this.#end(active, completion, active.stop);
    }
  }

  #stop(active: Active, reason: Problem | 'suspended'): void {
    if (active.stop !== undefined || active.ending) return;
    active.stop = reason;
    if (active.tag !== undefined) this.#options.engine.cancel(active.tag);
    else if (reason === 'suspended') this.#suspend(active);
    else this.#end(active, undefined, reason);
  }

  /**
   * It has stopped. What is in the journal ends once its end is there too, and keeps its place in
   * the order until then: see recovery.ts.
   */
  #end(active: Active, completion: Completion | undefined, error: Problem | undefined): void {
    const { transfer } = active;
    const channels = this.#options.dma.names(completion?.dma.channels ?? []);
    const outcome = transfer.outcome(completion, error, channels);
    active.ending = true;
    clearTimeout(active.timer);
    if (!active.journaled) {
      this.#archive.add(transfer);
      this.#finish(active, outcome);
      return;
    }
    const ended = endedRows(transfer, outcome);
    void this.#options.journal.settle(ended).then(() => this.#finish(active, outcome));
  }

  #finish(active: Active, outcome: Outcome): void {
    const { transfer, ticket } = active;
    const before = transfer.bytesCompleted;
    if (transfer.status === 'running') this.#running--;
    transfer.finish(outcome);
    this.#active.delete(transfer.id);
    this.#history.finish(transfer);
    this.#options.observer.progressed(transfer, transfer.bytesCompleted - before);
    this.#options.observer.finished(transfer);
    this.#logEnd(transfer);
    this.feed.publish('status', transfer);
    if (ticket !== undefined) this.#options.queue.release(ticket);
  }

  /** It is over for this daemon, and left to the next. */
  #suspend(active: Active): void {
    const { transfer, ticket } = active;
    clearTimeout(active.timer);
    if (transfer.status === 'running') this.#running--;
    transfer.suspend();
    this.#active.delete(transfer.id);
    this.feed.publish('status', transfer);
    if (ticket !== undefined) this.#options.queue.release(ticket);
  }

  #logEnd({ id, origin, status, choice, bytesCompleted, timings, error }: Transfer): void {
    const unforeseen = error?.code === 'internal_error';
    this.#options.log[unforeseen ? 'error' : 'info'](
      {
        transfer: id,
        client: origin.client,
        status,
        engine: choice.engine,
        bytes: bytesCompleted,
        total_ns: timings.total_ns,
        ...(error && { code: error.code, detail: error.message }),
      },
      'transfer over',
    );
  }
}

function newActive(transfer: Transfer, journaled: boolean): Active {
  return {
    ...{ transfer, journaled },
    ...{ ticket: undefined, tag: undefined, stop: undefined, timer: undefined },
    ...{ accepting: undefined, due: false, ending: false },
  };
}

function accessesOf({ source, destination, segments }: TransferPlan): Access[] {
  return segments.flatMap(({ src_offset, dst_offset, size }) => [
    { device: source.handle, offset: src_offset, size, write: false },
    { device: destination.handle, offset: dst_offset, size, write: true },
  ]);
}
