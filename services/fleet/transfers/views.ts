// SPDX-License-Identifier: Apache-2.0
import type { Client } from '../../http/access/client.ts';
import { seesTransfersOf } from '../../http/access/visibility.ts';
import { Problem } from '../../http/problems/problem.ts';
import { mayUseHosts } from '../access/hosts.ts';
import type { Running } from '../etcd/fleet-state.ts';
import type { Keys } from '../etcd/keys.ts';
import type { Membership } from '../etcd/membership.ts';
import type { Mirror } from '../etcd/mirror.ts';
import { only, type Store } from '../etcd/store.ts';
import type { Fleet } from '../hosts/fleet.ts';
import { etcdUnavailable } from './acceptance.ts';
import { readAtHost } from './at-host.ts';
import { documentFor, runningDocument } from './document.ts';
import type { Ends } from './ends.ts';
import { type EndedRecord, type RunningRecord, readEnded, readRunning } from './record.ts';
import { type FleetTransfer, type HostReport, hostsOf } from './schema.ts';
import { readSettings, type Settings } from './settings.ts';

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ASK_MS = 2000;

/** A transfer as it stands. */
export interface View {
  owner: string;
  document: FleetTransfer;
  /** How it ended, if it has. */
  ended: EndedRecord | undefined;
  /** As it stands in etcd, if it has not. */
  running: Running | undefined;
}

export interface ViewsOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
  membership: Membership;
  fleet: Fleet;
  ends: Ends;
  /** Why this gateway gets nowhere with a host; undefined if it does, or does not own it. */
  troubleOf(host: string): string | undefined;
}

/** How transfers stand: on any gateway, whoever owns their hosts. */
export class Views {
  readonly #options: ViewsOptions;
  /** Ends the waits that are under way. */
  readonly #waits = new Set<() => void>();

  constructor(options: ViewsOptions) {
    this.#options = options;
  }

  /** Answers all that wait for an end with how things stand. */
  close(): void {
    for (const end of this.#waits) end();
  }

  /** How a transfer stands. @throws Problem not_found, also if the client may not see it */
  async find(id: string, client: Client): Promise<View> {
    const view = await this.read(id);
    if (view === undefined || !sees(client, view)) {
      throw new Problem('not_found', 'There is no such transfer, or it ended more than a day ago.');
    }
    return { ...view, document: documentFor(client, view.owner, view.document) };
  }

  /**
   * Waits for its end, for some time.
   *
   * @param gone makes the signal that aborts once nobody waits any more, if there is a wait
   * @returns how it stands then
   */
  async waitForEnd(id: string, client: Client, ms: number, gone: () => AbortSignal): Promise<View> {
    const { ends } = this.#options;
    let stop = () => {};
    const ended = new Promise<EndedRecord | undefined>((resolve) => {
      stop = ends.await(id, resolve);
    });
    try {
      const view = await this.find(id, client);
      if (view.ended !== undefined || ms === 0) return view;
      const end = await until(ended, ms, gone(), this.#waits);
      if (end !== undefined) {
        const { owner } = view;
        const document = documentFor(client, owner, end.document);
        return { owner, ended: end, running: undefined, document };
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
    gone: () => AbortSignal,
  ): Promise<View> {
    if (record === undefined || ms > 0) return this.waitForEnd(id, client, ms, gone);
    const view = this.viewOf({ record, created: 0 });
    return { ...view, document: documentFor(client, view.owner, view.document) };
  }

  /**
   * As it stands, by what is known here.
   *
   * @param reported by its host, if it was just asked
   * @param settings as etcd has them, if it was just asked
   */
  viewOf(running: Running, reported?: HostReport, settings?: Settings): View {
    const { record } = running;
    const { host, progress } = record;
    const { fleet, membership, mirror, troubleOf } = this.#options;
    const document = runningDocument(record, {
      live: reported ?? fleet.live(host).get(record.id),
      settings: settings ?? mirror.changes.get(record.id),
      hostAway: fleet.whyAway(host) ?? (progress.is === 'accepted' ? troubleOf(host) : undefined),
    });
    const stale = membership.health.is === 'away' ? { stale: true } : {};
    const { client: owner } = record;
    return { owner, document: { ...document, ...stale }, ended: undefined, running };
  }

  /**
   * Reads a transfer as a majority of etcd has it; if there is none, as it is known here.
   *
   * @param ask whether its host is asked how it stands, if it has not said
   * @returns undefined if there is none @throws Problem etcd_unavailable
   */
  async read(id: string, ask = true): Promise<View | undefined> {
    if (!UUID.test(id)) return undefined;
    const { store, keys, mirror, membership } = this.#options;
    const known = mirror.running.get(id);
    try {
      if (membership.health.is === 'away') throw etcdUnavailable();
      const { rows } = await store.read([
        ...[only(keys.ended(id)), only(keys.transfer(id)), only(keys.change(id))],
      ]);
      const [[endedRow] = [], [runningRow] = [], [changeRow] = []] = rows;
      const ended = endedRow && readEnded(endedRow.value);
      if (ended !== undefined) {
        const { client: owner, document } = ended;
        return { owner, document, ended, running: undefined };
      }
      const record = runningRow && readRunning(runningRow.value);
      if (record === undefined || runningRow === undefined) return undefined;
      const reported = ask ? await this.#askHost(record) : undefined;
      const settings = changeRow && readSettings(changeRow.value);
      return this.viewOf({ record, created: runningRow.created }, reported, settings);
    } catch (error) {
      if (known === undefined) throw error instanceof Problem ? error : etcdUnavailable();
      const view = this.viewOf(known);
      return { ...view, document: { ...view.document, stale: true } };
    }
  }

  /** Has the host tell how a transfer stands, unless it has already. */
  async #askHost(record: RunningRecord): Promise<HostReport | undefined> {
    const { fleet } = this.#options;
    const { id, host, progress } = record;
    const link = fleet.link(host);
    if (link === undefined || link.away !== undefined) return undefined;
    if (progress.is !== 'handed_over' || fleet.live(host).get(id)) return undefined;
    try {
      const options = { deadlineMs: ASK_MS, retryForMs: 0 };
      const reported = await readAtHost(link.client, { record, hostId: progress.hostId }, options);
      fleet.reported(record, reported);
      return reported;
    } catch {
      return undefined;
    }
  }
}

/** Whether a client sees a transfer: it may then watch, change and cancel it. */
export function sees(
  client: Client,
  { owner, document }: Pick<View, 'owner' | 'document'>,
): boolean {
  return seesTransfersOf(client, owner) && mayUseHosts(client, hostsOf(document));
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
