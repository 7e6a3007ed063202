// SPDX-License-Identifier: Apache-2.0
import type { TransferIds } from '../../base/transfer-ids.ts';
import { Problem } from '../../http/problems/problem.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Journal } from '../journal/journal.ts';
import type { WorkQueue } from '../order/work-queue.ts';
import type { ActiveTransfer } from './active.ts';
import type { ActiveTransfers } from './active-transfers.ts';
import { indexOf } from './batch.ts';
import { type Dependency, dependenciesOf } from './dependencies.ts';
import type { EarlierTransfers } from './earlier.ts';
import type { Feed } from './feed.ts';
import type { History } from './history.ts';
import type { IdempotencyKeys } from './idempotency.ts';
import { acceptTogether } from './journal-entry.ts';
import type { Meaning } from './request.ts';
import { type Origin, Transfer, type TransferPlan } from './transfer.ts';

/** What a client asks for. */
export interface NewTransfer {
  /**
   * What it means, whether or not that can be done now. Of several requests, `dependsOn` names earlier
   * ones as `#` and their index.
   */
  request: Meaning;
  origin: Origin;
  /** Builds the plan; not called for a replay, which may no longer be plannable. */
  makePlan(): TransferPlan;
}

/** A transfer that is not accepted yet, and what it depends on. */
interface Prepared {
  transfer: Transfer;
  dependencies: readonly Dependency[];
}

export interface Created {
  transfer: Transfer;
  /** Whether a request before this one made it. */
  replayed: boolean;
}

/** What a problem says that is about one of several requests. */
export type About = (problem: Problem, index: number) => Problem;

const asItIs: About = (problem) => problem;

export interface AcceptorOptions {
  active: ActiveTransfers;
  earlier: EarlierTransfers;
  history: History;
  keys: IdempotencyKeys;
  ids: TransferIds;
  queue: WorkQueue;
  journal: Journal;
  clock: ElapsedClock;
  feed: Feed;
}

/** From requests to transfers that have their places in the order. */
export class Acceptor {
  readonly #options: AcceptorOptions;

  constructor(options: AcceptorOptions) {
    this.#options = options;
  }

  /**
   * Accepts transfers, all or none; they may have started, though not ended, when this resolves.
   *
   * @param journaled whether they must be in the journal by then, and before they start; with an
   *   Idempotency-Key they always are
   * @param about what a problem says that is about one of them
   * @returns for each the transfer, or the one that was made before
   * @throws Problem if they are not accepted, and then nothing is kept of them: what `makePlan`
   *   throws; unknown_transfer; idempotency_key_reused if another request used the key; queue_full and
   *   the like
   */
  async create(
    requests: readonly NewTransfer[],
    journaled: boolean,
    about = asItIs,
  ): Promise<Created[]> {
    const { active, journal, keys } = this.#options;
    for (let wait = this.#unknown(requests); wait; wait = this.#unknown(requests)) await wait;
    // From here to their places in the order nothing else runs.
    const { created, fresh } = this.#prepare(requests, about);
    const added = fresh.map(({ transfer, dependencies }) => active.add(transfer, { dependencies }));
    if (journaled || fresh.some(({ transfer }) => transfer.origin.key !== undefined)) {
      for (const one of added) one.placeAccepting(active.ticketsOf(one.dependencies));
      try {
        if (added.length > 0) await acceptTogether(added, journal);
      } catch (error) {
        if (error instanceof Problem) for (const { transfer } of fresh) keys.forget(transfer);
        throw error;
      }
    } else {
      for (const one of added) {
        this.show(one);
        one.place(active.ticketsOf(one.dependencies));
        one.checkDependencies();
      }
    }
    return created;
  }

  /** It is accepted: from now on it can be asked for. */
  show(active: ActiveTransfer): void {
    const { transfer } = active;
    this.#options.history.add(transfer, transfer.origin.key !== undefined);
    active.limitTime();
    this.#options.feed.publish('status', transfer);
  }

  /**
   * Sees whether there are the transfers that requests would depend on.
   *
   * @param about see {@link create}
   * @throws Problem unknown_transfer
   */
  async checkDependencies(
    requests: readonly Pick<Meaning, 'dependsOn'>[],
    client: string,
    about = asItIs,
  ): Promise<void> {
    const { earlier, history } = this.#options;
    const names = requests.flatMap(({ dependsOn }) => dependsOn);
    if (names.some((id) => !history.has(id))) await earlier.learning;
    const find = history.dependencyFinder();
    for (const [index, { dependsOn }] of requests.entries()) {
      try {
        dependenciesOf(dependsOn, client, (name) =>
          (indexOf(name) ?? index) < index ? 'earlier' : find(name),
        );
      } catch (error) {
        throw error instanceof Problem ? about(error, index) : error;
      }
    }
  }

  /** While it is not known which transfers these requests name, or whether their keys are taken. */
  #unknown(requests: readonly NewTransfer[]): Promise<unknown> | undefined {
    const { active, earlier, history, keys } = this.#options;
    const known = ({ origin: { client, key } }: NewTransfer) =>
      key === undefined ? undefined : keys.peek(client, key);
    const learning = earlier.learning;
    const unsure = (request: NewTransfer) =>
      (request.origin.key !== undefined && known(request) === undefined) ||
      request.request.dependsOn.some((id) => !history.has(id));
    if (learning !== undefined && requests.some(unsure)) return learning;
    const accepting = requests.flatMap((request) => {
      const id = known(request);
      return (id && active.get(id)?.accepting) || [];
    });
    return accepting.length > 0 ? Promise.all(accepting) : undefined;
  }

  #prepare(requests: readonly NewTransfer[], about: About) {
    const created: Created[] = [];
    const fresh = new Map<string, Prepared>();
    const earlier = this.#options.history.dependencyFinder();
    const find = (id: string) => fresh.get(id)?.transfer ?? earlier(id);
    try {
      for (const request of requests) created.push(this.#prepareOne(request, created, fresh, find));
    } catch (error) {
      for (const { transfer } of fresh.values()) this.#options.keys.forget(transfer);
      throw error instanceof Problem ? about(error, created.length) : error;
    }
    return { created, fresh: [...fresh.values()] };
  }

  /**
   * @param before what came of the requests before it
   * @param fresh receives it, if it is no replay
   * @param find gives what it may depend on
   */
  #prepareOne(
    { request, origin, makePlan }: NewTransfer,
    before: readonly Created[],
    fresh: Map<string, Prepared>,
    find: (id: string) => Dependency | undefined,
  ): Created {
    const { clock, history, ids, keys, queue } = this.#options;
    const { client, key } = origin;
    const named = request.dependsOn.map(
      (name) => before[indexOf(name) ?? before.length]?.transfer.id ?? name,
    );
    const dependsOn = named.length === 0 ? named : [...new Set(named)];
    const known = key && keys.find(client, key, { ...request, dependsOn });
    const replayed = known ? (fresh.get(known)?.transfer ?? history.get(known)) : undefined;
    if (replayed !== undefined) return { transfer: replayed, replayed: true };
    const plan = Object.assign(makePlan(), { dependsOn });
    const dependencies = dependenciesOf(named, client, find);
    queue.admitTransfers(client, fresh.size + 1);
    const transfer = new Transfer(ids.next(), plan, origin, clock);
    keys.remember(transfer);
    fresh.set(transfer.id, { transfer, dependencies });
    return { transfer, replayed: false };
  }
}
