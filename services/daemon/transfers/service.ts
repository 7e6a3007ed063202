// SPDX-License-Identifier: Apache-2.0

import type { Writable } from 'node:stream';
import type { HeapOptions } from '../../base/heap.ts';
import { TransferIds } from '../../base/transfer-ids.ts';
import { seesTransfersOf, type Viewer } from '../../http/access/visibility.ts';
import { Problem, withMembers } from '../../http/problems/problem.ts';
import { type About, Acceptor, type Created, type NewTransfer } from './acceptance.ts';
import { ActiveTransfers } from './active-transfers.ts';
import { Archive } from './archive.ts';
import type { TransferContext } from './context.ts';
import { documentFor } from './document.ts';
import { EarlierTransfers } from './earlier.ts';
import { Feed } from './feed.ts';
import { History, type Page } from './history.ts';
import { IdempotencyKeys } from './idempotency.ts';
import type { TransferListQuery } from './list-schema.ts';
import type { Meaning } from './request.ts';
import type { TransferPatch } from './request-schema.ts';
import { historyLimits } from './retention.ts';
import type { RowsOf } from './rows.ts';
import type { Transfer } from './transfer.ts';
import { TransferEvent } from './transfer-event.ts';
import type { WorkSource } from './watch.ts';

const FORGET_EVERY_MS = 60_000;
/** So much time at most, and what the host is off, counts for nobody if the host goes down. */
const KEEP_CLOCK_EVERY_MS = 600_000;

/** With a small heap, fewer finished transfers and fewer keys are kept. */
export type TransferServiceOptions = Omit<
  TransferContext,
  'archive' | 'feed' | 'interrupting' | 'accepted' | 'left' | 'finished' | 'keep'
> &
  HeapOptions;

/** Accepts transfers, sees them through, and knows how each of them stands. */
export class TransferService implements WorkSource {
  readonly feed = new Feed();
  /** Names all work that is accepted, so that ids are in the order of acceptance. */
  readonly ids = new TransferIds();
  /** Those of earlier daemons. */
  readonly earlier: EarlierTransfers;
  readonly #options: TransferServiceOptions;
  readonly #active: ActiveTransfers;
  readonly #acceptor: Acceptor;
  readonly #archive: Archive;
  readonly #history: History;
  readonly #keys: IdempotencyKeys;
  readonly #forgetting: NodeJS.Timeout;
  readonly #keepingClock: NodeJS.Timeout;

  constructor(options: TransferServiceOptions) {
    const { feed, ids } = this;
    const limits = historyLimits(options);
    const history = new History(limits, options.clock, (rows) => this.#forget(rows));
    const keys = new IdempotencyKeys((id) => history.release(id), options);
    const archive = new Archive(options.journal, (id) => history.get(id));
    const active = new ActiveTransfers({
      ...options,
      archive,
      feed,
      accepted: (one) => this.#acceptor.show(one),
      finished: (transfer) => {
        keys.finish(transfer);
        this.earlier.finish(transfer);
      },
    });
    const parts = { ...options, active, archive, feed, history, ids, keys };
    const maxKept = limits.answered.transfers + limits.accepted202.transfers;
    const earlier = new EarlierTransfers({ ...parts, maxKept });
    this.#options = options;
    this.#active = active;
    this.#archive = archive;
    this.#history = history;
    this.#keys = keys;
    this.earlier = earlier;
    this.#acceptor = new Acceptor({ ...parts, earlier });
    this.#forgetting = setInterval(() => {
      this.#keys.forgetExpired();
      this.#history.forgetOld();
    }, FORGET_EVERY_MS).unref();
    this.#keepingClock = setInterval(() => this.#keepClock(), KEEP_CLOCK_EVERY_MS).unref();
  }

  get running(): number {
    return this.#active.running;
  }

  get queued(): number {
    return this.#active.size - this.running;
  }

  /** See {@link Acceptor.create}. */
  create(requests: readonly NewTransfer[], journaled: boolean, about?: About): Promise<Created[]> {
    return this.#acceptor.create(requests, journaled, about);
  }

  /** See {@link Acceptor.checkDependencies}. */
  checkDependencies(
    requests: readonly Pick<Meaning, 'dependsOn'>[],
    client: string,
    about?: About,
  ): Promise<void> {
    return this.#acceptor.checkDependencies(requests, client, about);
  }

  /** @throws Problem not_found, also if the viewer may not see it */
  async get(id: string, viewer: Viewer): Promise<Transfer> {
    if (!this.#history.has(id)) await this.earlier.learning;
    return this.#seen(id, viewer);
  }

  #seen(id: string, viewer: Viewer): Transfer {
    const transfer = this.#history.get(id);
    if (transfer === undefined || !seesTransfersOf(viewer, transfer.origin.client)) {
      throw new Problem('not_found', 'There is no such transfer, or it ended too long ago.');
    }
    return transfer;
  }

  unfinished(viewer: Viewer, after: string, count: number): TransferEvent[] {
    return this.#history
      .unfinished(viewer, after, count)
      .map((transfer) => new TransferEvent(this.feed.latest, 'status', transfer));
  }

  /**
   * @param unwanted whether nobody waits for the page any more
   * @throws Problem invalid_request for a page token that does not fit
   */
  async list(query: TransferListQuery, viewer: Viewer, unwanted?: () => boolean): Promise<Page> {
    await this.earlier.learning;
    return this.#history.page(query, viewer, unwanted);
  }

  /** See {@link ActiveTransfers.waitForEnd}. */
  waitForEnd(transfer: Transfer, waitMs?: number, answer?: Writable): Promise<void> {
    return this.#active.waitForEnd(transfer, waitMs, answer);
  }

  /** See {@link ActiveTransfers.keep}. */
  keep(transfer: Transfer): Promise<void> {
    return this.#active.keep(transfer);
  }

  /**
   * Stops a transfer; one that was cancelled before is given again.
   *
   * @returns once it has stopped
   * @throws Problem not_found; not_cancellable if it ended otherwise
   */
  async cancel(id: string, viewer: Viewer): Promise<Transfer> {
    if (!this.#history.has(id)) await this.earlier.learning;
    const transfer = this.#seen(id, viewer);
    const active = this.#active.get(id);
    if (active !== undefined) {
      active.stop(new Problem('cancelled', 'It was cancelled by a client.'));
      await this.waitForEnd(transfer);
    }
    if (transfer.status !== 'cancelled') {
      throw new Problem('not_cancellable', `The transfer has finished: ${transfer.status}.`, {
        members: { transfer: documentFor(viewer, transfer) },
      });
    }
    return transfer;
  }

  /**
   * Changes the settings of a transfer.
   *
   * @returns once that is in the journal, if the transfer is
   * @throws Problem not_found; not_changeable if it has finished, or runs; and what
   *   {@link ActiveTransfer.change} throws
   */
  async change(id: string, viewer: Viewer, patch: TransferPatch): Promise<Transfer> {
    const transfer = await this.get(id, viewer);
    const active = this.#active.get(id);
    const shown = () => ({ transfer: documentFor(viewer, transfer) });
    let changed: boolean | undefined;
    try {
      changed = await active?.change(patch);
    } catch (error) {
      const shows = error instanceof Problem && error.code === 'not_changeable';
      throw shows ? withMembers(error, shown()) : error;
    }
    if (!changed) {
      await this.waitForEnd(transfer);
      const detail = `The transfer has finished: ${transfer.status}.`;
      throw new Problem('not_changeable', detail, { members: shown() });
    }
    this.#keys.weighAgain(transfer);
    this.feed.publish('status', transfer);
    return transfer;
  }

  /** See {@link ActiveTransfers.startNoMore}. */
  startNoMore(): void {
    this.#active.startNoMore();
  }

  /** See {@link ActiveTransfers.interrupt}. */
  interrupt(): Promise<void> {
    return this.#active.interrupt();
  }

  /** Hands to the journal what it has not been given yet. */
  close(): void {
    clearInterval(this.#forgetting);
    clearInterval(this.#keepingClock);
    this.#keepClock();
    this.#archive.close();
  }

  #keepClock(): void {
    this.#options.journal.writeSoon(this.#options.clock.row());
  }

  /** It can be asked for no longer. */
  #forget(rows: RowsOf): void {
    this.#active.forgets(rows.id);
    this.#archive.remove(rows);
  }
}
