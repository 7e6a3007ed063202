// SPDX-License-Identifier: Apache-2.0
import type { Writable } from 'node:stream';
import { SlotMap } from '../../base/slots.ts';
import { Problem } from '../../http/problems/problem.ts';
import { waitWhile } from '../../http/wait.ts';
import type { Ticket } from '../order/scheduler.ts';
import type { Work } from '../order/work.ts';
import { type ActiveOptions, ActiveTransfer } from './active.ts';
import type { TransferContext } from './context.ts';
import { type Dependency, Dependents } from './dependencies.ts';
import type { Transfer } from './transfer.ts';

/** All transfers that have not finished, and which of them wait for others to succeed. */
export class ActiveTransfers {
  readonly #context: TransferContext & { interrupting: boolean };
  readonly #byId = new SlotMap<string, ActiveTransfer>();
  readonly #dependents = new Dependents();
  /** Those that have left without success and whose dependents are still to be stopped. */
  readonly #failed: Transfer[] = [];

  constructor(options: Omit<TransferContext, 'interrupting' | 'left' | 'keep'>) {
    this.#context = {
      ...options,
      interrupting: false,
      left: (active) => this.#left(active),
      finished: (transfer) => {
        options.finished(transfer);
        this.#finished(transfer);
      },
      keep: (dependencies) => this.#keepSoon(dependencies),
    };
  }

  get size(): number {
    return this.#byId.size;
  }

  get running(): number {
    let running = 0;
    for (const { transfer } of this.#byId.values()) {
      if (transfer.status === 'running') running++;
    }
    return running;
  }

  get(id: string): ActiveTransfer | undefined {
    return this.#byId.get(id);
  }

  [Symbol.iterator](): Iterator<ActiveTransfer> {
    return this.#byId.values();
  }

  /** Adds one that has no place in the order yet. */
  add(transfer: Transfer, options?: ActiveOptions): ActiveTransfer {
    const active = new ActiveTransfer(transfer, this.#context, options);
    this.#byId.set(transfer.id, active);
    this.#dependents.add(active);
    return active;
  }

  /** One of an earlier daemon learns what it depends on. */
  dependOn(active: ActiveTransfer, dependencies: readonly Dependency[]): void {
    active.dependOn(dependencies);
    this.#dependents.add(active);
  }

  /** The places in the order of those of these transfers that have not finished. */
  ticketsOf(transfers: readonly Dependency[]): Ticket<Work>[] {
    return transfers.flatMap(({ id }) => this.#byId.get(id)?.ticket ?? []);
  }

  /** A transfer is forgotten: after that nobody could tell a later daemon that it had succeeded. */
  forgets(id: string): void {
    for (const dependent of this.#dependents.of(id)) dependent.noteDependencies();
  }

  /**
   * @param answer for which it waits: once that is closed, nobody waits any more
   * @returns once the transfer has finished, or is left to the next daemon, or `waitMs` have passed
   */
  async waitForEnd(
    { id }: Transfer,
    waitMs = Number.POSITIVE_INFINITY,
    answer?: Writable,
  ): Promise<void> {
    const active = this.#byId.get(id);
    if (active !== undefined) await waitWhile((done) => active.whenLeft(done), waitMs, answer);
  }

  /**
   * Puts a transfer into the journal, so that it outlives the daemon: its client is answered 202 after that.
   * One that the journal refuses is stopped.
   *
   * @returns once it is in the journal, or has finished
   */
  async keep(transfer: Transfer): Promise<void> {
    const active = this.#byId.get(transfer.id);
    try {
      await active?.keep();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      active?.stop(error);
      await this.waitForEnd(transfer);
    }
  }

  /** From now on none starts, even if its turn comes. */
  startNoMore(): void {
    this.#context.interrupting = true;
  }

  /**
   * Stops all. What the journal has is left for the next daemon, unless that could not run it again;
   * the rest is interrupted. @returns once they have stopped
   */
  async interrupt(): Promise<void> {
    this.startNoMore();
    // First all that could start: once the journal stops waiting, nothing must go on behind an end
    // that is not on disk.
    for (const active of [...this]) {
      if (active.journaling === undefined) active.interrupt();
    }
    this.#context.journal.stopWaiting();
    await Promise.allSettled([...this].map(({ journaling }) => journaling));
    const left = [...this];
    for (const active of left) active.interrupt();
    await Promise.all(left.map(({ transfer }) => this.waitForEnd(transfer)));
  }

  #left(active: ActiveTransfer): void {
    this.#byId.delete(active.transfer.id);
    this.#dependents.remove(active);
  }

  #finished(transfer: Transfer): void {
    this.#dependents.finished(transfer);
    if (transfer.status === 'succeeded') return;
    // A loop, not a recursion: a chain of them may be as long as there are transfers.
    this.#failed.push(transfer);
    if (this.#failed.length > 1) return;
    for (const failed of this.#failed) {
      for (const dependent of this.#dependents.of(failed.id)) dependent.checkDependencies();
    }
    this.#failed.length = 0;
  }

  /** Has transfers outlive the daemon; not at once, for each may have more that it depends on. */
  #keepSoon(transfers: readonly Dependency[]): void {
    for (const { id } of transfers) {
      queueMicrotask(() => {
        // Should it be refused, so is what depends on it.
        this.#byId
          .get(id)
          ?.keep()
          .catch(() => {});
      });
    }
  }
}
