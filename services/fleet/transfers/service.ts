// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { TransferIds } from '../../base/transfer-ids.ts';
import type { TransferDocument } from '../../daemon/transfers/schema.ts';
import type { Client } from '../../http/access/client.ts';
import { seesTransfersOf } from '../../http/access/visibility.ts';
import { fieldProblem, Problem } from '../../http/problems/problem.ts';
import { mayUseHost } from '../access/hosts.ts';
import type { Keys } from '../etcd/keys.ts';
import type { Membership } from '../etcd/membership.ts';
import type { Mirror, Running } from '../etcd/mirror.ts';
import { only, type Store } from '../etcd/store.ts';
import type { Fleet } from '../hosts/fleet.ts';
import {
  type Acceptance,
  Acceptor,
  etcdUnavailable,
  refusedByEtcd,
  unknownHost,
} from './acceptance.ts';
import { documentFor, runningDocument } from './document.ts';
import type { Ends } from './ends.ts';
import { type EndedRecord, type RunningRecord, readEnded, readRunning } from './record.ts';
import { Room } from './room.ts';
import type { FleetTransfer, FleetTransferRequest } from './schema.ts';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ASK_MS = 2000;

/** A transfer as it stands. */
export interface View {
  owner: string;
  document: FleetTransfer;
  /** How it ended, if it has. */
  ended: EndedRecord | undefined;
}

export interface ServiceOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
  membership: Membership;
  fleet: Fleet;
  ends: Ends;
  /** Why this gateway gets nowhere with a host; undefined if it does, or does not own it. */
  troubleOf(host: string): string | undefined;
  /** How many transfers of a client may be under way; undefined: as many as there is room for. */
  limitOf(client: string): number | undefined;
  log: FastifyBaseLogger;
}

export interface Origin {
  client: Client;
  key: string | undefined;
  traceparent: string | undefined;
}

/** Accepts transfers, finds them and cancels them: on any gateway, whoever owns their hosts. */
export class FleetTransfers {
  readonly #options: ServiceOptions;
  readonly #acceptor: Acceptor;
  readonly #room: Room;
  readonly #ids = new TransferIds();
  /** Ends the waits that are under way. */
  readonly #waits = new Set<() => void>();

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#acceptor = new Acceptor(options.store, options.keys);
    this.#room = new Room(options.mirror, options.limitOf);
  }

  /** Answers all that wait for an end with how things stand. */
  close(): void {
    for (const end of this.#waits) end();
  }

  /** How many wait for etcd. */
  get accepting(): number {
    return this.#acceptor.waiting;
  }

  /** @returns the record that {@link accept} writes, under a new id */
  async prepare(
    request: FleetTransferRequest,
    { client, key, traceparent }: Origin,
  ): Promise<RunningRecord> {
    return {
      ...{ id: this.#ids.next(), client: client.name, host: request.host, request },
      ...{ acceptedAt: Date.now(), usedKey: key, traceparent },
      waitsFor: await this.#unmetDependencies(request, client),
      progress: { is: 'accepted' },
    };
  }

  /** Promises a transfer. @throws Problem; OutcomeUnknown */
  async accept(record: RunningRecord): Promise<Acceptance> {
    this.checkWritable();
    const problem = this.#room.reserve(record);
    if (problem !== undefined) {
      // What was accepted before needs no room.
      const earlier = await this.#acceptor.findEarlier(record);
      if (earlier !== undefined) return earlier;
      throw problem;
    }
    try {
      const acceptance = await this.#acceptor.accept(record);
      if (acceptance.replayed) this.#room.release(record.id);
      return acceptance;
    } catch (error) {
      this.#room.release(record.id);
      throw error;
    }
  }

  /** The mirror has it. */
  seen(id: string): void {
    this.#room.release(id);
  }

  /** @throws Problem unknown_host, also if the client may not use it */
  checkHost(host: string, client: Client): void {
    const { mirror } = this.#options;
    if (!mirror.loaded) throw etcdUnavailable();
    if (!mirror.hosts.has(host) || !mayUseHost(client, host)) throw unknownHost(host);
  }

  /** @throws Problem if etcd takes no writes */
  checkWritable(): void {
    const { health } = this.#options.membership;
    if (health.is === 'away') throw etcdUnavailable();
  }

  /** How a transfer stands. @throws Problem not_found, also if the client may not see it */
  async find(id: string, client: Client): Promise<View> {
    const view = UUID.test(id) ? await this.#read(id) : undefined;
    if (view === undefined || !this.#sees(client, view)) {
      throw new Problem('not_found', 'There is no such transfer, or it ended more than a day ago.');
    }
    return { ...view, document: documentFor(client, view.owner, view.document) };
  }

  /** Waits for its end, for some time. @returns how it stands then */
  async waitForEnd(id: string, client: Client, ms: number, gone: AbortSignal): Promise<View> {
    const { ends } = this.#options;
    let stop = () => {};
    const ended = new Promise<EndedRecord | undefined>((resolve) => {
      stop = ends.await(id, resolve);
    });
    try {
      const view = await this.find(id, client);
      if (view.ended !== undefined || ms === 0) return view;
      const end = await until(ended, ms, gone, this.#waits);
      if (end !== undefined) {
        const { owner } = view;
        return { owner, ended: end, document: documentFor(client, owner, end.document) };
      }
    } finally {
      stop();
    }
    return this.find(id, client);
  }

  /**
   * The same of a transfer that has just been accepted.
   *
   * @param record undefined if an earlier request made it
   */
  async waitForAccepted(
    { id, record }: { id: string; record: RunningRecord | undefined },
    client: Client,
    ms: number,
    gone: AbortSignal,
  ): Promise<View> {
    if (record === undefined || ms > 0) return this.waitForEnd(id, client, ms, gone);
    const view = this.viewOf({ record, created: 0 });
    return { ...view, document: documentFor(client, view.owner, view.document) };
  }

  /** Asks for a transfer to be stopped. @throws Problem not_found, not_cancellable */
  async cancel(id: string, client: Client, ms: number, gone: AbortSignal): Promise<View> {
    const before = await this.find(id, client);
    if (before.ended === undefined) {
      this.checkWritable();
      const { store, keys } = this.#options;
      const value = JSON.stringify({ client: client.name });
      try {
        await store.write(
          [{ key: keys.transfer(id), is: 'present' }],
          [{ put: keys.cancel(id), value }],
        );
      } catch (error) {
        // Asking twice does no harm: whatever became of it, the client may repeat it.
        throw refusedByEtcd(error);
      }
    }
    const view = await this.waitForEnd(id, client, ms, gone);
    if (view.ended !== undefined && view.document.status !== 'cancelled') {
      const detail = `The transfer has already ended: it is ${view.document.status}.`;
      throw new Problem('not_cancellable', detail, { members: { transfer: view.document } });
    }
    return view;
  }

  /** As it stands, by what is known here. @param told by its host, if it was just asked */
  viewOf(running: Running, told?: TransferDocument): View {
    const { record } = running;
    const { host, progress } = record;
    const { fleet, membership, troubleOf } = this.#options;
    const document = runningDocument(record, {
      live: told ?? fleet.live(host).get(record.id),
      hostAway: fleet.whyAway(host) ?? (progress.is === 'accepted' ? troubleOf(host) : undefined),
    });
    const stale = membership.health.is === 'away' ? { stale: true } : {};
    return { owner: record.client, document: { ...document, ...stale }, ended: undefined };
  }

  #sees(client: Client, { owner, document }: View): boolean {
    return seesTransfersOf(client, owner) && mayUseHost(client, document.host);
  }

  /** Reads a transfer as a majority of etcd has it; if there is none, as it is known here. */
  async #read(id: string): Promise<View | undefined> {
    const { store, keys, mirror, membership } = this.#options;
    const known = mirror.running.get(id);
    try {
      if (membership.health.is === 'away') throw etcdUnavailable();
      const { rows } = await store.read([only(keys.ended(id)), only(keys.transfer(id))]);
      const [[endedRow] = [], [runningRow] = []] = rows;
      const ended = endedRow && readEnded(endedRow.value);
      if (ended !== undefined) return { owner: ended.client, document: ended.document, ended };
      const record = runningRow && readRunning(runningRow.value);
      if (record === undefined || runningRow === undefined) return undefined;
      const told = await this.#askHost(record);
      return this.viewOf({ record, created: runningRow.created }, told);
    } catch (error) {
      if (known === undefined) throw error instanceof Problem ? error : etcdUnavailable();
      return { ...this.viewOf(known), document: { ...this.viewOf(known).document, stale: true } };
    }
  }

  /** Has the host tell how a transfer stands, unless it has already. */
  async #askHost({ id, host, progress }: RunningRecord): Promise<TransferDocument | undefined> {
    const { fleet, mirror } = this.#options;
    const link = fleet.link(host);
    if (link === undefined || link.away !== undefined) return undefined;
    if (progress.is !== 'handed_over' || fleet.live(host).get(id)) return undefined;
    try {
      const options = { deadlineMs: ASK_MS, retryForMs: 0 };
      const told = (await link.client.getTransfer(progress.hostId, options)) as TransferDocument;
      // Once it has ended, nobody would forget it.
      if (mirror.running.has(id)) {
        fleet.live(host).add(id, progress.hostId);
        fleet.live(host).told(told);
      }
      return told;
    } catch {
      return undefined;
    }
  }

  /** Of what a request depends on, all that has not succeeded. @throws Problem unknown_transfer */
  async #unmetDependencies(request: FleetTransferRequest, client: Client): Promise<string[]> {
    const unmet: string[] = [];
    for (const [index, id] of (request.depends_on ?? []).entries()) {
      const view = UUID.test(id) ? await this.#read(id) : undefined;
      if (view === undefined || !this.#sees(client, view)) {
        const detail = `No transfer of this client has the id ${id}.`;
        throw fieldProblem('unknown_transfer', `/depends_on/${index}`, detail);
      }
      if (view.document.status !== 'succeeded') unmet.push(id);
    }
    return [...new Set(unmet)];
  }
}

/**
 * @param waits has what ends this wait while it is under way
 * @returns what comes, unless the time is over or nobody waits any more before
 */
async function until<Result>(
  coming: Promise<Result>,
  ms: number,
  gone: AbortSignal,
  waits: Set<() => void>,
): Promise<Result | undefined> {
  if (gone.aborted) return undefined;
  let settle = () => {};
  const first = new Promise<undefined>((resolve) => {
    settle = () => resolve(undefined);
  });
  const timer = setTimeout(settle, ms);
  gone.addEventListener('abort', settle, { once: true });
  waits.add(settle);
  const result = await Promise.race([coming, first]);
  clearTimeout(timer);
  gone.removeEventListener('abort', settle);
  waits.delete(settle);
  return result;
}
