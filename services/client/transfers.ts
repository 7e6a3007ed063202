// SPDX-License-Identifier: Apache-2.0
import {
  type CreateOptions,
  creatingHeaders,
  DEFAULT_WAIT_SECONDS,
  isOver,
  JSON_TYPE,
  MERGE_PATCH_TYPE,
  newKey,
  WAIT_SECONDS,
  type WaitOptions,
} from './call-options.ts';
import { filterOnHost, onItsHost } from './device-name.ts';
import { transferError } from './error.ts';
import { ReplicationClient } from './replications.ts';
import { Abort } from './time.ts';
import { type CallOptions, deadlineExceeded, type Query, type Transport } from './transport.ts';
import type {
  BatchedTransferRequest,
  DryRun,
  EventsQuery,
  Transfer,
  TransferList,
  TransferListQuery,
  TransferPatch,
  TransferRequest,
} from './types.ts';
import {
  type TransferEvent,
  type WatchOptions,
  type WorkEvent,
  workEvents,
} from './work-events.ts';

/** The operations on transfers, and the events of all work; see {@link DmadClient}. */
export class TransferClient extends ReplicationClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    super(transport);
    this.#transport = transport;
  }

  /**
   * Starts a transfer, and waits some seconds for its end. A lost connection does no harm: the same
   * Idempotency-Key goes with each attempt.
   *
   * @returns the transfer, which may still be under way
   * @throws DmadError with `transfer` if it ended, but did not succeed
   */
  async createTransfer(request: TransferRequest, options: CreateOptions = {}): Promise<Transfer> {
    const headers = creatingHeaders(options);
    const onHost = onItsHost(request);
    const body = () => JSON.stringify(onHost);
    return this.#transport.json(
      {
        ...{ method: 'POST', path: '/transfers', headers, body },
        ...{ expected: [201, 202], retry: 'after_loss' },
      },
      options,
      (options.waitSeconds ?? DEFAULT_WAIT_SECONDS) * 1000,
    );
  }

  /**
   * Starts up to 1000 transfers together, or none. `depends_on` may name earlier ones as `"#0"`. A
   * lost connection does no harm: each has a key, made up if it is absent.
   */
  async createTransfers(
    requests: readonly BatchedTransferRequest[],
    options?: CallOptions,
  ): Promise<Transfer[]> {
    const transfers = requests.map((one) => ({
      ...onItsHost(one),
      idempotency_key: one.idempotency_key ?? newKey(),
    }));
    const { transfers: made } = await this.#transport.json<{ transfers: Transfer[] }>(
      {
        ...{ method: 'POST', path: '/transfers/batch', headers: JSON_TYPE, expected: [202] },
        ...{ body: () => JSON.stringify({ transfers }), retry: 'after_loss' },
      },
      options,
    );
    return made;
  }

  /** What a batch would do; it copies nothing. */
  async planTransfers(
    requests: readonly BatchedTransferRequest[],
    options?: CallOptions,
  ): Promise<DryRun[]> {
    const transfers = requests.map((one) => ({ ...onItsHost(one), dry_run: true }));
    const body = () => JSON.stringify({ transfers });
    const { transfers: plans } = await this.#transport.json<{ transfers: DryRun[] }>(
      { method: 'POST', path: '/transfers/batch', headers: JSON_TYPE, body, retry: 'after_loss' },
      options,
    );
    return plans;
  }

  /** What a transfer would do; it copies nothing. */
  async planTransfer(request: TransferRequest, options?: CallOptions): Promise<DryRun> {
    const onHost = onItsHost(request);
    const body = () => JSON.stringify({ ...onHost, dry_run: true });
    const retry = 'after_loss';
    return this.#transport.json(
      { method: 'POST', path: '/transfers', headers: JSON_TYPE, body, retry },
      options,
    );
  }

  /** Starts a transfer and waits for its end. @throws DmadError unless it succeeded */
  async runTransfer(request: TransferRequest, options: CreateOptions = {}): Promise<Transfer> {
    const deadline = options.deadlineMs && performance.now() + options.deadlineMs;
    const transfer = await this.createTransfer(request, options);
    if (isOver(transfer)) return transfer;
    const ended = await this.waitForTransfer(transfer.id, {
      ...options,
      ...(deadline !== undefined && { deadlineMs: deadline - performance.now() }),
    });
    if (ended.status !== 'succeeded') throw transferError(ended);
    return ended;
  }

  /** A transfer as it is now, finished or not. */
  getTransfer(id: string, { waitSeconds = 0, ...options }: WaitOptions = {}): Promise<Transfer> {
    const headers: Record<string, string> =
      waitSeconds === 0 ? {} : { prefer: `wait=${waitSeconds}` };
    const path = `/transfers/${encodeURIComponent(id)}`;
    return this.#transport.json(
      { path, headers, retry: 'after_loss' },
      options,
      waitSeconds * 1000,
    );
  }

  /** Waits for the end, however long that takes and however it is. */
  async waitForTransfer(
    id: string,
    { deadlineMs = Number.POSITIVE_INFINITY, ...options }: CallOptions = {},
  ): Promise<Transfer> {
    const abort = new Abort(options.signal);
    abort.abortAfter(deadlineMs, () => deadlineExceeded(`transfer ${id}`, deadlineMs, undefined));
    try {
      for (;;) {
        const each = { ...options, signal: abort.signal, waitSeconds: WAIT_SECONDS };
        const transfer = await this.getTransfer(id, each);
        if (isOver(transfer)) return transfer;
      }
    } finally {
      abort.done();
    }
  }

  /** A page of transfers, newest first. */
  listTransfers(query: TransferListQuery = {}, options?: CallOptions): Promise<TransferList> {
    return this.#transport.json(
      { path: '/transfers', query: filterOnHost(query) as Query, retry: 'after_loss' },
      options,
    );
  }

  /** All transfers that a query finds, newest first, page by page. */
  async *allTransfers(
    query: TransferListQuery = {},
    options?: CallOptions,
  ): AsyncGenerator<TransferList['transfers'][number]> {
    for (let token = query.page_token; token !== ''; ) {
      const page = await this.listTransfers(
        { ...query, ...(token !== undefined && { page_token: token }) },
        options,
      );
      yield* page.transfers;
      token = page.next_page_token;
    }
  }

  /**
   * Changes a transfer that is not over: what the patch does not name stays, null gives the default.
   *
   * @throws DmadError `not_changeable`
   */
  changeTransfer(id: string, patch: TransferPatch, options?: CallOptions): Promise<Transfer> {
    const path = `/transfers/${encodeURIComponent(id)}`;
    const headers = MERGE_PATCH_TYPE;
    const body = () => JSON.stringify(patch);
    return this.#transport.json(
      { method: 'PATCH', path, headers, body, retry: 'after_loss' },
      options,
    );
  }

  /** Stops a transfer. @returns it, once it has stopped @throws DmadError `not_cancellable` */
  cancelTransfer(id: string, options?: CallOptions): Promise<Transfer> {
    const path = `/transfers/${encodeURIComponent(id)}/cancel`;
    const headers = { 'idempotency-key': newKey() };
    return this.#transport.json({ method: 'POST', path, headers, retry: 'after_loss' }, options);
  }

  /**
   * Follows a transfer: how it stands, each change, and last its end, after which the iterator is
   * done. A lost connection is resumed; what happened meanwhile comes as one change.
   */
  async *watch(id: string, options: CallOptions = {}): AsyncGenerator<TransferEvent> {
    const path = `/transfers/${encodeURIComponent(id)}/events`;
    for await (const event of workEvents(this.#transport, path, undefined, options)) {
      if (!('transfer' in event)) continue;
      yield event;
      if (isOver(event.transfer)) return;
    }
    // It ended while the connection was lost.
    yield { id: undefined, event: 'status', transfer: await this.getTransfer(id, options) };
  }

  /**
   * Follows all transfers that this client sees and the filter finds: first those that are not over,
   * as they stand, then each change, until the caller stops it.
   */
  async *watchAll(
    filter: EventsQuery = {},
    options: WatchOptions = {},
  ): AsyncGenerator<TransferEvent> {
    for await (const event of this.watchWork(filter, options)) if ('transfer' in event) yield event;
  }

  /** The same with replications. A filter for `operation` or `engine` finds none. */
  watchWork(filter: EventsQuery = {}, options: WatchOptions = {}): AsyncGenerator<WorkEvent> {
    return workEvents(this.#transport, '/events', filterOnHost(filter) as Query, options);
  }
}
