// SPDX-License-Identifier: Apache-2.0
import type { Writable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TransferIds } from '../../base/transfer-ids.ts';
import type { Client } from '../../http/access/client.ts';
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
import type { InconsistentRanges } from '../devices/schema.ts';
import type { ElapsedClock } from '../journal/elapsed.ts';
import type { StoredRows } from '../journal/stored-rows.ts';
import { whyAnother } from '../transfers/recovery.ts';
import type { EarlierWork, PlacedWork } from '../transfers/restore.ts';
import type { Origin } from '../transfers/transfer.ts';
import { ActiveReplication, type Dependencies } from './active.ts';
import { ReplicationFeed } from './events.ts';
import { FetchBuffers } from './fetch-buffers.ts';
import { Replication } from './replication.ts';
import { idOf, isReplicationKey, keysOf, readReplications } from './rows.ts';
import type { ReplicationListQuery, ReplicationPatch, ReplicationRequest } from './schema.ts';
import { type Page, ReplicationStore } from './store.ts';

const FORGET_EVERY_MS = 60_000;
/** How many rows are read in one turn of the event loop: some milliseconds. */
const SLICE = 200;
/** How many inconsistent ranges of a device are listed one by one. */
const MAX_LISTED = 1000;

export interface ReplicationServiceOptions
  extends Omit<
    Dependencies,
    'buffers' | 'interrupting' | 'consistencyChanged' | 'changed' | 'left'
  > {
  inventory: Inventory;
  clock: ElapsedClock;
  /** Those of transfers, too: ids are in the order of acceptance. */
  ids: TransferIds;
}

export interface Created {
  replication: Replication;
  /** Whether a request before this one made it. */
  replayed: boolean;
}

/** Accepts replications, sees them through, and knows how each of them stands. */
export class ReplicationService implements EarlierWork {
  readonly feed = new ReplicationFeed();
  readonly #options: ReplicationServiceOptions;
  readonly #dependencies: Dependencies & { interrupting: boolean };
  readonly #store: ReplicationStore;
  readonly #active = new Map<string, ActiveReplication>();
  readonly #forgetting: NodeJS.Timeout;

  constructor(options: ReplicationServiceOptions) {
    this.#options = options;
    this.#store = new ReplicationStore((replication) =>
      options.journal.remove(keysOf(replication)),
    );
    this.#dependencies = {
      ...options,
      buffers: new FetchBuffers(),
      interrupting: false,
      consistencyChanged: (replication) => this.#store.noteConsistency(replication),
      changed: (kind, replication) => this.feed.publish(kind, replication),
      left: ({ replication }) => this.#active.delete(replication.id),
    };
    this.#forgetting = setInterval(() => this.#store.forgetOld(), FORGET_EVERY_MS).unref();
  }

  /** Those that run, and those of them whose peer is away. */
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
      const accepting = before && this.#active.get(before.id)?.accepting;
      if (!accepting) break;
      // It was refused: this one may not be.
      await accepting.catch(rethrowUnlessProblem);
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

  get(id: string, viewer: Viewer): Replication {
    return this.#store.get(id, viewer);
  }

  list(query: ReplicationListQuery, viewer: Viewer): Page {
    return this.#store.page(query, viewer);
  }

  /**
   * The ranges of a device that a client may touch and that are inconsistent, in their order. From a
   * number on they are one range, with what lies between them.
   */
  inconsistentRanges(device: Device, viewer: Viewer & Pick<Client, 'grants'>): InconsistentRanges {
    const all = this.#store.inconsistentRanges(device);
    const ranges = all.slice(0, MAX_LISTED).map(({ offset, size, replication }) => ({
      ...{ offset, size },
      ...(seesTransfersOf(viewer, replication.origin.client) && { replication: replication.id }),
    }));
    const [next, last] = [all[MAX_LISTED], all.at(-1)];
    if (next !== undefined && last !== undefined) {
      ranges.push({ offset: next.offset, size: last.offset + last.size - next.offset });
    }
    const { grants } = viewer;
    if (grants === undefined) return ranges;
    return ranges.flatMap((range) =>
      grants.readableIn(device.name, range).map((part) => ({ ...range, ...part })),
    );
  }

  /** How many bytes of a device are inconsistent. */
  inconsistentBytes(device: Device): number {
    return this.#store.inconsistentRanges(device).reduce((sum, { size }) => sum + size, 0);
  }

  /**
   * @param answer for which it waits: once that is closed, nobody waits any more
   * @returns once it is over, or left to the next daemon, or `waitMs` have passed
   */
  async waitForEnd(
    { id }: Replication,
    waitMs = Number.POSITIVE_INFINITY,
    answer?: Writable,
  ): Promise<void> {
    if (!this.#active.has(id)) return;
    const watch = (done: () => void) =>
      this.feed.watch(id, () => {
        if (!this.#active.has(id)) done();
      });
    await waitWhile(watch, waitMs, answer);
  }

  /**
   * Stops a replication; one that was cancelled before is given again.
   *
   * @returns once it has stopped
   * @throws Problem not_found; not_cancellable if it ended otherwise
   */
  async cancel(id: string, viewer: Viewer): Promise<Replication> {
    const replication = this.get(id, viewer);
    const active = this.#active.get(id);
    active?.stop(new Problem('cancelled', 'It was cancelled by a client.'));
    // Whoever made it hears of what goes wrong with that.
    await active?.accepting?.catch(() => {});
    await this.waitForEnd(replication);
    // It is gone if it was refused.
    this.get(id, viewer);
    if (replication.status === 'cancelled') return replication;
    throw new Problem('not_cancellable', `The replication is over: ${replication.status}.`, {
      members: { replication: replication.documentFor(viewer) },
    });
  }

  /**
   * Changes the settings of a replication. @returns once that is in the journal
   * @throws Problem not_found; not_changeable if it is over
   */
  async change(id: string, viewer: Viewer, patch: ReplicationPatch): Promise<Replication> {
    const replication = this.get(id, viewer);
    await this.#active.get(id)?.accepting;
    if (!(await this.#active.get(id)?.change(patch))) {
      await this.waitForEnd(replication);
      const problem = new Problem('not_changeable', `It is over: ${replication.status}.`);
      throw withMembers(problem, { replication: replication.documentFor(viewer) });
    }
    this.feed.publish('status', replication);
    return replication;
  }

  /**
   * Learns what earlier daemons left; see {@link EarlierWork}. Those that were not over go on, unless
   * their device is another one.
   */
  async read(rows: StoredRows): Promise<PlacedWork[]> {
    const { clock, log, ids } = this.#options;
    const placed: PlacedWork[] = [];
    for (const keys of slicesOf(rows.keys.filter(isReplicationKey))) {
      const found = await rows.get(keys);
      const replications = readReplications(found, clock, (key) => {
        log.error({ key }, 'journal: a row says nothing that this version can show anybody');
      });
      for (const replication of replications) {
        replication.promised = true;
        this.#store.add(replication);
        ids.passOver(replication.id);
        if (!replication.over) placed.push(this.#placed(replication));
      }
      await nextTurn();
    }
    return placed;
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

  /** @param doubt why those that are not over must not go on after all; undefined if they may */
  settle(doubt: string | undefined): void {
    for (const active of [...this.#active.values()]) {
      if (doubt === undefined) active.resume();
      else active.interruptHeld(`${doubt}, and later work may have touched the same bytes`);
    }
  }

  /** From now on none starts, even if its turn comes. */
  startNoMore(): void {
    this.#dependencies.interrupting = true;
  }

  /** Stops all that is not over, and leaves it to the next daemon. @returns once it has stopped */
  async interrupt(): Promise<void> {
    this.startNoMore();
    const left = [...this.#active.values()];
    for (const active of left) active.stop('suspended');
    await Promise.all(left.map(({ replication }) => this.waitForEnd(replication)));
  }

  close(): void {
    clearInterval(this.#forgetting);
  }

  #activate(replication: Replication, device: Device): ActiveReplication {
    const active = new ActiveReplication(replication, device, this.#dependencies);
    this.#active.set(replication.id, active);
    return active;
  }
}

/** Slices of sorted keys, none of which parts the rows of a replication. */
function* slicesOf(keys: readonly string[]): Generator<string[]> {
  for (let at = 0; at < keys.length; ) {
    let end = Math.min(at + SLICE, keys.length);
    while (end < keys.length && idOf(keys[end]) === idOf(keys[end - 1])) end++;
    yield keys.slice(at, end);
    at = end;
  }
}

function rethrowUnlessProblem(error: unknown): void {
  if (!(error instanceof Problem)) throw error;
}
