// SPDX-License-Identifier: Apache-2.0
import {
  type CreateOptions,
  creatingHeaders,
  DEFAULT_WAIT_SECONDS,
  isOver,
  MERGE_PATCH_TYPE,
  newKey,
  WAIT_SECONDS,
  type WaitOptions,
} from './call-options.ts';
import { resumedEvents } from './events.ts';
import { Abort } from './time.ts';
import { type CallOptions, deadlineExceeded, type Query, type Transport } from './transport.ts';
import type {
  Replication,
  ReplicationList,
  ReplicationListQuery,
  ReplicationPatch,
  ReplicationRequest,
} from './types.ts';

/** A change of a replication. */
export interface ReplicationEvent {
  /** From which a stream of all goes on. */
  id: string | undefined;
  /** `progress`, `status`; a later daemon may have more. */
  event: string;
  replication: Replication;
}

/** The operations on replications; see {@link DmadClient}. */
export class ReplicationClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /**
   * Starts a replication from a peer of the daemon's, and waits some seconds for its end. A lost
   * connection does no harm: the same Idempotency-Key goes with each attempt.
   *
   * @returns the replication, which may still be under way
   * @throws DmadError with `replication` if it ended, but did not succeed
   */
  createReplication(
    request: ReplicationRequest,
    options: CreateOptions = {},
  ): Promise<Replication> {
    const headers = creatingHeaders(options);
    const body = () => JSON.stringify(request);
    return this.#transport.json(
      {
        ...{ method: 'POST', path: '/replications', headers, body },
        ...{ expected: [201, 202], retry: 'after_loss' },
      },
      options,
      (options.waitSeconds ?? DEFAULT_WAIT_SECONDS) * 1000,
    );
  }

  /** The current state of a replication. */
  getReplication(
    id: string,
    { waitSeconds = 0, ...options }: WaitOptions = {},
  ): Promise<Replication> {
    const headers: Record<string, string> =
      waitSeconds === 0 ? {} : { prefer: `wait=${waitSeconds}` };
    const request = { path: pathOf(id), headers, retry: 'after_loss' } as const;
    return this.#transport.json(request, options, waitSeconds * 1000);
  }

  /** Waits for the end, however long that takes and however it is. */
  async waitForReplication(
    id: string,
    { deadlineMs = Number.POSITIVE_INFINITY, ...options }: CallOptions = {},
  ): Promise<Replication> {
    const abort = new Abort(options.signal);
    abort.abortAfter(deadlineMs, () =>
      deadlineExceeded(`replication ${id}`, deadlineMs, undefined),
    );
    try {
      for (;;) {
        const each = { ...options, signal: abort.signal, waitSeconds: WAIT_SECONDS };
        const replication = await this.getReplication(id, each);
        if (isOver(replication)) return replication;
      }
    } finally {
      abort.done();
    }
  }

  /** A page of replications, newest first. */
  listReplications(
    query: ReplicationListQuery = {},
    options?: CallOptions,
  ): Promise<ReplicationList> {
    return this.#transport.json(
      { path: '/replications', query: query as Query, retry: 'after_loss' },
      options,
    );
  }

  /**
   * Changes a replication that is not over, also while it runs: what the patch does not name stays,
   * null gives the default.
   *
   * @throws DmadError `not_changeable`
   */
  changeReplication(
    id: string,
    patch: ReplicationPatch,
    options?: CallOptions,
  ): Promise<Replication> {
    const body = () => JSON.stringify(patch);
    return this.#transport.json(
      { method: 'PATCH', path: pathOf(id), headers: MERGE_PATCH_TYPE, body, retry: 'after_loss' },
      options,
    );
  }

  /** Stops a replication. @returns it, once it has stopped @throws DmadError `not_cancellable` */
  cancelReplication(id: string, options?: CallOptions): Promise<Replication> {
    const path = `${pathOf(id)}/cancel`;
    const headers = { 'idempotency-key': newKey() };
    return this.#transport.json({ method: 'POST', path, headers, retry: 'after_loss' }, options);
  }

  /**
   * Follows a replication: how it stands, each change, and last its end, after which the iterator is
   * done. A lost connection is resumed.
   */
  async *watchReplication(id: string, options: CallOptions = {}): AsyncGenerator<ReplicationEvent> {
    const path = `${pathOf(id)}/events`;
    for await (const events of resumedEvents(this.#transport, path, undefined, options)) {
      for (const { id: eventId, event, data } of events) {
        // That it begins anew.
        if (event === 'snapshot') continue;
        const replication: Replication = JSON.parse(data);
        yield { id: eventId, event, replication };
        if (isOver(replication)) return;
      }
    }
    // It ended while the connection was lost.
    yield { id: undefined, event: 'status', replication: await this.getReplication(id, options) };
  }
}

function pathOf(id: string): string {
  return `/replications/${encodeURIComponent(id)}`;
}
