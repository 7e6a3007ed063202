// SPDX-License-Identifier: Apache-2.0
import { Problem } from '../../http/problems/problem.ts';
import type { Ticket } from '../order/scheduler.ts';
import type { Work } from '../order/work.ts';
import { transferLane } from '../order/work-lanes.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import { accessesOf } from './accesses.ts';
import type { WaitingFor } from './schema.ts';
import type { Transfer } from './transfer.ts';

/** A transfer's place in the order of all work that touches devices. */
export class OrderPlace {
  readonly #transfer: Transfer;
  readonly #queue: WorkQueue;
  /** Undefined before it is taken, and once it is released. */
  #ticket: Ticket<Work> | undefined;
  /** What was called before there was a ticket for it: the last of that. */
  #early: 'begin' | 'release' | undefined;

  constructor(transfer: Transfer, queue: WorkQueue) {
    this.#transfer = transfer;
    this.#queue = queue;
  }

  /**
   * Takes it: the transfer may start, and end, before this returns.
   *
   * @param after the places of those that it depends on
   * @param kept whether a crash does not forget it
   * @param start its turn has come
   * @param unsettled see `unsettled` of work-queue.ts
   */
  take(
    after: readonly Ticket<Work>[],
    kept: boolean,
    start: () => void,
    unsettled: () => Promise<boolean> | undefined,
  ): void {
    const { id, plan, settings, origin } = this.#transfer;
    this.#ticket = this.#queue.add({
      kind: 'transfer',
      id,
      client: origin.client,
      start,
      accesses: accessesOf(plan),
      lane: transferLane(settings.priority, plan.bytes),
      bytes: plan.bytes,
      kept,
      unsettled,
      after,
    });
    if (this.#early === 'begin') this.#queue.begin(this.#ticket);
    if (this.#early === 'release') this.release();
  }

  /** For those that are to come after it; undefined if it has none. */
  get ticket(): Ticket<Work> | undefined {
    return this.#ticket;
  }

  /** Whether work that a crash forgets has begun to write its source. */
  get readsTransient(): boolean {
    return this.#ticket?.readsTransient === true;
  }

  /** Why it must not run though its turn has come: an upload that it waited for was cut short. */
  get problem(): Problem | undefined {
    if (this.#ticket?.torn !== true) return undefined;
    const detail =
      'The upload that it waited for was cut short, so that its source is incomplete: upload that ' +
      'again, then send the transfer again.';
    return new Problem('source_incomplete', detail);
  }

  get waitingFor(): WaitingFor {
    // Its client hears of it before it has its place.
    if (this.#ticket === undefined) return { reason: 'slot' };
    return this.#queue.waitOf(this.#ticket) ?? { reason: 'journal' };
  }

  /** From now on a crash does not forget it. */
  keep(): void {
    if (this.#ticket !== undefined) this.#ticket.transient = false;
  }

  /** Goes by the transfer's settings as they are now. */
  move(): void {
    const { plan, settings } = this.#transfer;
    const lane = transferLane(settings.priority, plan.bytes);
    if (this.#ticket !== undefined) this.#queue.move(this.#ticket, lane);
  }

  /**
   * One that a crash may forget is about to write.
   *
   * @returns a promise of whether it may, or undefined if it may at once
   */
  begin(): Promise<boolean> | undefined {
    if (this.#ticket !== undefined) return this.#queue.begin(this.#ticket);
    // What starts within take() has nobody behind it yet.
    this.#early = 'begin';
    return undefined;
  }

  /** Lets those go on that wait for it. */
  release(): void {
    const ticket = this.#ticket;
    // Each would keep the one in front of it in memory until V8's old space is collected.
    this.#ticket = undefined;
    if (ticket === undefined) this.#early = 'release';
    else this.#queue.release(ticket);
  }
}
