// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { v7 as uuidv7 } from 'uuid';
import type { EngineChooser } from '../engines/choice.ts';
import type { DmaEngine } from '../engines/dma.ts';
import type { Engine } from '../engines/engine.ts';
import { jobProblem } from '../engines/failure.ts';
import type { Completion } from '../engines/records.ts';
import type { Access, Ticket } from '../order/scheduler.ts';
import { type Start, transferLane, type WorkQueue } from '../order/work-queue.ts';
import { Problem, retryLater } from '../problems/problem.ts';
import { Feed } from './feed.ts';
import { History, type Page } from './history.ts';
import { IdempotencyKeys } from './idempotency.ts';
import type { TransferListQuery } from './schema.ts';
import { type Origin, Transfer, type TransferPlan } from './transfer.ts';

const HISTORY = { transfers: 10_000, segments: 262_144 };

/** A transfer that is not over. */
interface Active {
  readonly transfer: Transfer;
  ticket: Ticket<Start> | undefined;
  /** The engine's name for it, once it runs. */
  tag: number | undefined;
  /** Why it was told to stop. */
  stop: Problem | undefined;
  timer: NodeJS.Timeout | undefined;
}

export interface TransferServiceOptions {
  engine: Engine;
  chooser: EngineChooser;
  dma: DmaEngine;
  queue: WorkQueue;
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
  readonly #history = new History(HISTORY);
  readonly #keys = new IdempotencyKeys({
    now: () => performance.now(),
    onForget: (transfer) => this.#history.release(transfer),
  });
  readonly #active = new Map<string, Active>();
  #running = 0;

  constructor(options: TransferServiceOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  get queued(): number {
    return this.#active.size - this.#running;
  }

  /**
   * Accepts a transfer; it may have started, though not ended, when this returns.
   *
   * @returns the transfer, or the one that the same request with the same key made before
   * @throws Problem where it is not accepted; then nothing is kept of it
   */
  create(plan: TransferPlan, origin: Origin): { transfer: Transfer; replayed: boolean } {
    const { client, key } = origin;
    const known = key === undefined ? undefined : this.#keys.find(client, key, plan);
    if (known !== undefined) return { transfer: known, replayed: true };
    this.#options.queue.admit();

    const transfer = new Transfer(uuidv7(), plan, origin);
    if (key !== undefined) this.#keys.remember(client, key, transfer);
    this.#history.add(transfer, key !== undefined);
    const active: Active = {
      transfer,
      ticket: undefined,
      tag: undefined,
      stop: undefined,
      timer: undefined,
    };
    this.#active.set(transfer.id, active);
    if (plan.timeoutMs !== undefined) this.#setTimeout(active, plan.timeoutMs);
    this.feed.publish('status', transfer);
    active.ticket = this.#options.queue.add(
      () => this.#start(active),
      accessesOf(plan),
      transferLane(plan.priority, plan.bytes),
    );
    // What ended within add() could not be released by a ticket that was not there yet.
    if (transfer.over) this.#options.queue.release(active.ticket);
    return { transfer, replayed: false };
  }

  /** @throws Problem not_found, where it is another client's too */
  get(id: string, client: string): Transfer {
    const transfer = this.#history.get(id);
    if (transfer?.origin.client !== client) {
      throw new Problem(
        'not_found',
        'There is no such transfer; it ended too long ago, or before the daemon was restarted.',
      );
    }
    return transfer;
  }

  /** @throws Problem invalid_request for a page token that does not fit */
  list(query: TransferListQuery, client: string): Page {
    return this.#history.page(query, client);
  }

  /** @returns once the transfer is over, or `waitMs` have passed */
  async waitForEnd(transfer: Transfer, waitMs = Number.POSITIVE_INFINITY): Promise<void> {
    if (transfer.over || waitMs <= 0) return;
    await new Promise<void>((resolve) => {
      const timer = Number.isFinite(waitMs) ? setTimeout(end, waitMs) : undefined;
      const unsubscribe = this.feed.subscribe(transfer.id, () => {
        if (transfer.over) end();
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

  /** Stops all that is not over, as interrupted. @returns once it has stopped */
  async interrupt(): Promise<void> {
    const reason = 'The daemon shut down before the transfer ended: send it again.';
    const left = [...this.#active.values()];
    for (const active of left) this.#stop(active, retryLater('interrupted', reason));
    await Promise.all(left.map(({ transfer }) => this.waitForEnd(transfer)));
  }

  #setTimeout(active: Active, timeoutMs: number): void {
    active.timer = setTimeout(() => {
      const detail = `It did not end within ${timeoutMs} ms of its acceptance.`;
      this.#stop(active, new Problem('timeout', detail));
    }, timeoutMs);
  }

  #start(active: Active): void {
    const { transfer } = active;
    const { source, destination, requestedEngine, priority, segments, flush, verify, timeoutMs } =
      transfer.plan;
    try {
      transfer.start(this.#options.chooser.choose(requestedEngine, source, destination));
    } catch (error) {
      // There was one when it was accepted.
      const { message } = error as Problem;
      this.#finish(active, undefined, new Problem('dma_error', message));
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
      this.#running--;
      this.#finish(
        active,
        undefined,
        new Problem('internal_error', 'The engine refused the copy.'),
      );
    }
  }

  #complete(active: Active, completion: Completion): void {
    this.#running--;
    const { dma } = completion;
    active.transfer.channels = this.#options.dma.names(dma.channels);
    if (completion.status === 0) {
      this.#finish(active, completion, undefined);
      return;
    }
    const [channel] = this.#options.dma.names(
      dma.failedChannel === undefined ? [] : [dma.failedChannel],
    );
    const problem = jobProblem(completion, active.transfer.plan.destination.name, channel);
    const stopped = problem.code === 'cancelled' && active.stop !== undefined;
    this.#finish(active, completion, stopped ? active.stop : problem);
  }

  #stop(active: Active, reason: Problem): void {
    if (active.stop !== undefined) return;
    active.stop = reason;
    if (active.tag !== undefined) this.#options.engine.cancel(active.tag);
    else this.#finish(active, undefined, reason);
  }

  #finish(active: Active, completion: Completion | undefined, error: Problem | undefined): void {
    const { transfer, ticket } = active;
    clearTimeout(active.timer);
    const before = transfer.bytesCompleted;
    transfer.finish(statusOf(error), completion, error);
    this.#active.delete(transfer.id);
    this.#history.finish(transfer);
    this.#options.observer.progressed(transfer, transfer.bytesCompleted - before);
    this.#options.observer.finished(transfer);
    this.#logEnd(transfer);
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

function statusOf(error: Problem | undefined) {
  if (error === undefined) return 'succeeded';
  return error.code === 'cancelled' || error.code === 'interrupted' ? error.code : 'failed';
}

function accessesOf({ source, destination, segments }: TransferPlan): Access[] {
  return segments.flatMap(({ src_offset, dst_offset, size }) => [
    { device: source.handle, offset: src_offset, size, write: false },
    { device: destination.handle, offset: dst_offset, size, write: true },
  ]);
}
