// SPDX-License-Identifier: Apache-2.0
import type { Writable } from 'node:stream';
import type { TransferIds } from '../../base/transfer-ids.ts';
import { seesTransfersOf, type Viewer } from '../../http/access/visibility.ts';
import { fieldProblem, Problem, withMembers } from '../../http/problems/problem.ts';
import { waitWhile } from '../../http/wait.ts';
import {
  checkBadBlocks,
  checkBounds,
  checkOnline,
  type Device,
  type Inventory,
} from '../devices/device.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { Row, StoredRows } from '../journal/stored-rows.ts';
import type { Feed } from '../transfers/feed.ts';
import type { EventKind } from '../transfers/feed-event.ts';
import { whyAnother } from '../transfers/recovery.ts';
import type { EarlierWork, PlacedWork } from '../transfers/restore.ts';
import type { Origin } from '../transfers/transfer.ts';
import type { WorkSource } from '../transfers/watch.ts';
import { ActiveReplication } from './active.ts';
import type { Dependencies } from './dependencies.ts';
import { FetchBuffers } from './fetch-buffers.ts';
import { ReplicationHistory } from './history.ts';
import { InconsistentBytes } from './inconsistent-bytes.ts';
import { DigestMemory } from './known-digests.ts';
import { OverwrittenRows } from './overwritten-rows.ts';
import { Replication } from './replication.ts';
import { ReplicationEvent } from './replication-event.ts';
import { keysOf } from './rows.ts';
import type { ReplicationListQuery, ReplicationPatch, ReplicationRequest } from './schema.ts';
import { type Page, ReplicationStore } from './store.ts';

const FORGET_EVERY_MS = 60_000;

export interface ReplicationServiceOptions
  extends Omit<
    Dependencies,
    'buffers' | 'digestMemory' | 'interrupting' | 'consistencyChanged' | 'changed' | 'left'
  > {
  inventory: Inventory;
  clock: ElapsedClock;
  /** Shared with transfers: ids are in the order of acceptance. */
  ids: TransferIds;
  /** Shared with transfers: one stream has events of both. */
  feed: Feed;
}

export interface Created {
  replication: Replication;
  /** Whether an earlier request made it. */
  replayed: boolean;
}

/** Accepts replications, runs each to its end, and knows their state. */
export class ReplicationService implements EarlierWork, WorkSource {
  readonly #options: ReplicationServiceOptions;
  readonly #dependencies: Dependencies & { interrupting: boolean };
  readonly #store: ReplicationStore;
  readonly #active = new Map<string, ActiveReplication>();
  readonly #forgetting: NodeJS.Timeout;
  readonly #history: ReplicationHistory;
  readonly #overwritten: OverwrittenRows;
  /** What replications, and copies of what they wrote, have left inconsistent. */
  readonly inconsistent: InconsistentBytes;

  constructor(options: ReplicationServiceOptions) {
    this.#options = options;
    this.#store = new ReplicationStore(
      (replication) => this.#forget(replication),
      (writer) => this.#overwritten.note(writer),
    );
    this.#overwritten = new OverwrittenRows(options.journal, (writer) =>
      this.#store.leftInconsistent(writer),
    );
    this.#history = new ReplicationHistory(options, this.#store, this.#overwritten);
    const { journal } = options;
    this.inconsistent = new InconsistentBytes(
      journal,
      this.#store,
      this.#overwritten,
      this.#history,
    );
    this.#dependencies = {
      ...options,
      buffers: new FetchBuffers(),
      digestMemory: new DigestMemory(),
      interrupting: false,
      consistencyChanged: (replication) => this.#store.noteConsistency(replication),
      changed: (kind, replication) => this.#publish(kind, replication),
      left: ({ id }) => this.#active.delete(id),
    };
    this.#forgetting = setInterval(() => this.#store.forgetOld(), FORGET_EVERY_MS).unref();
  }

  /** How many run, and how many of those wait for a peer that does not answer. */
  get running(): { all: number; awaitingPeer: number } {
    let all = 0;
    let awaitingPeer = 0;
    for (const { replication } of this.#active.values()) {
      if (replication.status === 'running') all++;
      if (replication.waitingFor?.()?.reason === 'peer') awaitingPeer++;
    }
    return { all, awaitingPeer };
  }

  /**
   * Accepts a replication; it may have started when this resolves. The journal has it then.
   *
   * @throws Problem if it is not accepted: unknown_peer, unknown_device, out_of_range, bad_block,
   *   idempotency_key_reused, queue_full and the like; OutcomeUnknown if that is not decided in time
   */
  async create(request: ReplicationRequest, origin: Origin): Promise<Created> {
    const { client, key } = origin;
    for (;;) {
      const before = key && this.#store.peek(client, key);
      // That one may still be refused, and then this request is the first.
      const accepting =
        before && this.#active.get(before.id)?.accepting?.catch(rethrowUnlessProblem);
      const undecided = before ? accepting : key && this.#history.known;
      if (!undecided) break;
      await undecided;
    }
    const known = key && this.#store.find(client, key, request);
    if (known) return { replication: known, replayed: true };
    const device = this.#check(request);
    this.#options.queue.admitTransfers(client, 1);
    this.#store.admit(client);
    const { ids, clock } = this.#options;
    const replication = new Replication(ids.next(), request, device, origin, clock);
    this.#store.add(replication);
    const active = this.#activate(replication, device);
    try {
      await active.accept();
    } catch (error) {
      if (error instanceof Problem) this.#store.remove(replication);
      throw error;
    }
    return { replication, replayed: false };
  }

  #check({ peer, dst_device_name: name, dst_offset: offset, size }: ReplicationRequest): Device {
    const { peers, inventory } = this.#options;
    if (peers.find(peer) === undefined) {
      const detail = `No peer ${JSON.stringify(peer.slice(0, 63))} is configured: name one of DMAD_PEERS_FILE.`;
      throw fieldProblem('unknown_peer', '/peer', detail);
    }
    const device = inventory.named(name, '/dst_device_name');
    const range = { device, offset, size, offsetPointer: '/dst_offset', sizePointer: '/size' };
    checkBounds(range);
    checkBadBlocks(range);
    checkOnline(device);
    return device;
  }

  /** @throws Problem not_found, also if the viewer may not see it */
  async get(id: string, viewer: Viewer): Promise<Replication> {
    if (!this.#store.has(id)) await this.#history.known;
    return this.#store.get(id, viewer);
  }

  /** @throws Problem invalid_request for a page token that does not fit */
  async list(query: ReplicationListQuery, viewer: Viewer): Promise<Page> {
    await this.#history.known;
    return this.#store.page(query, viewer);
  }

  unfinished(viewer: Viewer, after: string, count: number): ReplicationEvent[] {
    const found: ReplicationEvent[] = [];
    for (const { replication, accepting } of this.#active.values()) {
      if (found.length === count) break;
      if (accepting !== undefined || replication.id <= after) continue;
      if (seesTransfersOf(viewer, replication.origin.client)) found.push(this.now(replication));
    }
    return found;
  }

  /** An event with a replication's present state. */
  now(replication: Replication): ReplicationEvent {
    return new ReplicationEvent(this.feed.latest, 'status', replication);
  }

  get feed(): Feed {
    return this.#options.feed;
  }

  #publish(kind: EventKind, replication: Replication): void {
    this.feed.publishOf(
      replication,
      kind,
      (number) => new ReplicationEvent(number, kind, replication),
    );
  }

  /**
   * @param answer that is sent afterwards: the wait ends if its connection closes
   * @returns once it has finished, or is left to the next daemon, or `waitMs` have passed
   */
  async waitForEnd(
    { id }: Replication,
    waitMs = Number.POSITIVE_INFINITY,
    answer?: Writable,
  ): Promise<void> {
    const active = this.#active.get(id);
    if (active !== undefined) await waitWhile((done) => active.onLeft(done), waitMs, answer);
  }

  /**
   * Stops a replication; returns one that was cancelled before as it is.
   *
   * @returns once it has stopped
   * @throws Problem not_found; not_cancellable if it ended otherwise
   */
  async cancel(id: string, viewer: Viewer): Promise<Replication> {
    const replication = await this.get(id, viewer);
    const active = this.#active.get(id);
    active?.stop(new Problem('cancelled', 'It was cancelled by a client.'));
    // The request that made it reports that error.
    await active?.accepting?.catch(() => {});
    await this.waitForEnd(replication);
    // Throws if it was refused meanwhile.
    this.#store.get(id, viewer);
    if (replication.status === 'cancelled') return replication;
    throw new Problem('not_cancellable', `The replication has finished: ${replication.status}.`, {
      members: { replication: replication.documentFor(viewer) },
    });
  }

  /**
   * Changes the settings of a replication. @returns once that is in the journal
   * @throws Problem not_found; not_changeable if it has finished
   */
  async change(id: string, viewer: Viewer, patch: ReplicationPatch): Promise<Replication> {
    const replication = await this.get(id, viewer);
    await this.#active.get(id)?.accepting;
    if (!(await this.#active.get(id)?.change(patch))) {
      await this.waitForEnd(replication);
      const problem = new Problem(
        'not_changeable',
        `The replication has finished: ${replication.status}.`,
      );
      throw withMembers(problem, { replication: replication.documentFor(viewer) });
    }
    this.#publish('status', replication);
    return replication;
  }

  /** Reads unfinished replications of earlier daemons; they go on unless their device is another one now. */
  async read(rows: StoredRows): Promise<PlacedWork[]> {
    const unfinished = await this.#history.first(rows);
    this.#options.ids.passOver(this.#history.lastId);
    return unfinished.map((replication) => this.#placed(replication));
  }

  readHistory(rows: readonly Row[]): void {
    this.#history.next(rows);
  }

  historyKnown(): void {
    this.#history.end();
  }

  #placed(replication: Replication): PlacedWork {
    const { inventory } = this.#options;
    const device = inventory.find(replication.destination.name);
    const reason = whyAnother(replication.destination, inventory);
    const active = this.#activate(replication, device ?? replication.destination);
    return {
      id: replication.id,
      place: () => {
        active.hold();
        if (reason !== undefined) active.interruptHeld(reason);
      },
    };
  }

  /** @param doubt why unfinished replications must not go on after all; undefined if they may */
  settle(doubt: string | undefined): void {
    for (const active of [...this.#active.values()]) {
      if (doubt === undefined) active.resume();
      else active.interruptHeld(`${doubt}, and later work may have touched the same bytes`);
    }
  }

  /** From now on no replication starts, even if its turn comes. */
  startNoMore(): void {
    this.#dependencies.interrupting = true;
  }

  /** Stops all unfinished replications, and leaves them to the next daemon. @returns once they have stopped */
  async interrupt(): Promise<void> {
    this.startNoMore();
    const unfinished = [...this.#active.values()];
    for (const active of unfinished) active.stop('suspended');
    await Promise.all(unfinished.map(({ replication }) => this.waitForEnd(replication)));
  }

  /** Hands over to the journal what is still to be written. */
  close(): void {
    clearInterval(this.#forgetting);
    this.#overwritten.flush();
  }

  #forget(replication: Replication): void {
    this.#overwritten.forget(replication);
    this.#options.journal.remove(keysOf(replication));
  }

  #activate(replication: Replication, device: Device): ActiveReplication {
    const active = new ActiveReplication(replication, device, this.#dependencies);
    this.#active.set(replication.id, active);
    return active;
  }
}

function rethrowUnlessProblem(error: unknown): void {
  if (!(error instanceof Problem)) throw error;
}
