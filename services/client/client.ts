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
import {
  blockDigests,
  type DigestOptions,
  type Download,
  type DownloadOptions,
  download,
  type UploadBody,
  type UploadOptions,
  upload,
} from './content.ts';
import { devicePath, filterOnHost, onItsHost } from './device-name.ts';
import { transferError } from './error.ts';
import { resumedEvents } from './events.ts';
import { ReplicationClient, type ReplicationEvent } from './replications.ts';
import { Abort } from './time.ts';
import {
  type CallOptions,
  deadlineExceeded,
  type Query,
  Transport,
  type TransportOptions,
} from './transport.ts';
import type {
  BatchedTransferRequest,
  CalibrationRequest,
  Checksum,
  Device,
  Digests,
  DryRun,
  Engines,
  EventsQuery,
  Fault,
  FaultRequest,
  FleetHost,
  FleetHostRequest,
  ProblemExplanation,
  Range,
  Readiness,
  Replication,
  Root,
  StreamList,
  Transfer,
  TransferList,
  TransferListQuery,
  TransferPatch,
  TransferRequest,
  UploadResult,
  Version,
  Whoami,
} from './types.ts';

/** What the names of replications' events begin with in a stream of all work. */
const REPLICATION_PREFIX = 'replication_';

/** How a stream of all transfers begins, or goes on. */
export interface WatchOptions extends CallOptions {
  /** The `id` of the last event that was received, to go on behind it. */
  lastEventId?: string | undefined;
  /**
   * Called if events were missed that the daemon does not know any more: those that follow say how
   * all stand that are not over, and what ended meanwhile is not among them.
   */
  onSnapshot?: (() => void) | undefined;
}

/** A change of a transfer. */
export interface TransferEvent {
  /** From which a stream goes on; see {@link WatchOptions}. */
  id: string | undefined;
  /** `progress`, `status`; a later daemon may have more. */
  event: string;
  /** With its segments, if it has some. */
  transfer: Transfer;
}

/** A change of a transfer or of a replication. */
export type WorkEvent = TransferEvent | ReplicationEvent;

/**
 * The operations of the HTTP interface, one method each. A method rejects with a {@link DmadError},
 * or with what its AbortSignal aborts with.
 */
export class DmadClient extends ReplicationClient {
  readonly #transport: Transport;

  constructor(options: TransportOptions) {
    const transport = new Transport(options);
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

  /** How a transfer stands, whether it is over or not. */
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
    return this.#get('/transfers', options, filterOnHost(query) as Query);
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
    for await (const event of this.#events(path, undefined, options)) {
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
    return this.#events('/events', filterOnHost(filter) as Query, options);
  }

  async *#events(
    path: string,
    query: Query | undefined,
    options: WatchOptions,
  ): AsyncGenerator<WorkEvent> {
    // Segments come once a connection: later events have the earlier one's.
    const segments = new Map<string, Transfer['segments']>();
    const keep = (id: string, its: Transfer['segments']) => {
      segments.set(id, its);
      // A filter may hide the ends of transfers: the oldest go, so that this does not grow.
      if (segments.size <= MAX_SEGMENTED) return;
      const [oldest = ''] = segments.keys();
      segments.delete(oldest);
    };
    for await (const events of resumedEvents(this.#transport, path, query, options)) {
      for (const { id, event, data } of events) {
        if (event.startsWith(REPLICATION_PREFIX)) {
          const replication: Replication = JSON.parse(data);
          yield { id, event: event.slice(REPLICATION_PREFIX.length), replication };
          continue;
        }
        const transfer = JSON.parse(data);
        if (event === 'snapshot') options.onSnapshot?.();
        if (typeof transfer?.id !== 'string') continue;
        if (transfer.segments === undefined) transfer.segments = segments.get(transfer.id) ?? null;
        else if (transfer.segments !== null) keep(transfer.id, transfer.segments);
        if (isOver(transfer)) segments.delete(transfer.id);
        yield { id, event, transfer };
      }
    }
  }

  async listDevices(options?: CallOptions): Promise<Device[]> {
    const { devices } = await this.#get<{ devices: Device[] }>('/devices', options);
    return devices;
  }

  getDevice(name: string, options?: CallOptions): Promise<Device> {
    return this.#get(devicePath(name), options);
  }

  /** The uploads and downloads that are under way, of a daemon's devices. */
  listStreams(options?: CallOptions): Promise<StreamList> {
    return this.#get('/streams', options);
  }

  /** Reads bytes of a device: all of it, or a range. */
  readContent(device: string, options: DownloadOptions = {}): Promise<Download> {
    return download(this.#transport, device, options);
  }

  /** Writes bytes into a device, in order with transfers. @throws DmadError with `bytesWritten` */
  writeContent(
    device: string,
    body: UploadBody,
    options: UploadOptions = {},
  ): Promise<UploadResult> {
    return upload(this.#transport, device, body, options);
  }

  /** The CRC-32C of a range, or of the whole device. */
  checksumContent(
    device: string,
    { offset, size, ...options }: CallOptions & Partial<Range> = {},
  ): Promise<Checksum> {
    const path = `${devicePath(device)}/checksum`;
    return this.#transport.call(
      { path, query: { offset, size }, retry: 'after_loss' },
      options,
      async (response) => (await response.json()) as Checksum,
    );
  }

  /** A page of the SHA-256 of each block of a range, in hex digits. */
  digestContent(
    device: string,
    { offset, size, blockSize, pageToken, ...options }: DigestOptions & { pageToken?: string } = {},
  ): Promise<Digests> {
    const path = `${devicePath(device)}/digests`;
    const query = { offset, size, block_size: blockSize, page_token: pageToken };
    return this.#transport.call(
      { path, query, retry: 'after_loss' },
      options,
      async (response) => (await response.json()) as Digests,
    );
  }

  /** The SHA-256 of each block of a range, 32 bytes each, as a stream. */
  blockDigests(device: string, options: DigestOptions = {}): AsyncGenerator<Uint8Array> {
    return blockDigests(this.#transport, device, options);
  }

  /** Of a fleet: its hosts, and how they fare. */
  async listHosts(options?: CallOptions): Promise<FleetHost[]> {
    return (await this.#get<{ hosts: FleetHost[] }>('/hosts', options)).hosts;
  }

  /** Adds a host to a fleet, or changes how it is reached. */
  putHost(name: string, request: FleetHostRequest, options?: CallOptions): Promise<FleetHost> {
    const path = `/hosts/${encodeURIComponent(name)}`;
    const body = () => JSON.stringify(request);
    return this.#transport.json(
      {
        ...{ method: 'PUT', path, headers: JSON_TYPE, body },
        ...{ expected: [201], retry: 'after_loss' },
      },
      options,
    );
  }

  /** @param abandon whether its transfers that are not over end as interrupted */
  async deleteHost(
    name: string,
    { abandon = false, ...options }: CallOptions & { abandon?: boolean } = {},
  ): Promise<void> {
    const path = `/hosts/${encodeURIComponent(name)}`;
    const query = abandon ? { abandon: 'true' } : {};
    await this.#transport.call(
      { method: 'DELETE', path, query, expected: [204], retry: 'if_refused' },
      options,
      async () => undefined,
    );
  }

  listEngines(options?: CallOptions): Promise<Engines> {
    return this.#get('/engines', options);
  }

  /**
   * Measures the engines, and overwrites the range that is named. It is not made again after a lost
   * connection: by then the range may hold something else.
   */
  calibrate(request?: CalibrationRequest, options?: CallOptions): Promise<Engines> {
    const headers = { ...(request && JSON_TYPE), 'idempotency-key': newKey() };
    return this.#transport.json(
      {
        ...{ method: 'POST', path: '/engines/calibrate', headers, retry: 'if_refused' },
        ...(request && { body: () => JSON.stringify(request) }),
      },
      options,
    );
  }

  /** Lets operations on an emulated device fail: of a daemon with DMAD_FAULTS=1 alone. */
  addFault(fault: FaultRequest, options?: CallOptions): Promise<Fault> {
    const headers = { ...JSON_TYPE, 'idempotency-key': newKey() };
    const body = () => JSON.stringify(fault);
    return this.#transport.json(
      { method: 'POST', path: '/faults', headers, body, expected: [201], retry: 'if_refused' },
      options,
    );
  }

  async listFaults(options?: CallOptions): Promise<Fault[]> {
    return (await this.#get<{ faults: Fault[] }>('/faults', options)).faults;
  }

  /** Removes all faults; what hangs goes on. */
  async clearFaults(options?: CallOptions): Promise<void> {
    await this.#transport.json({ method: 'DELETE', path: '/faults', retry: 'after_loss' }, options);
  }

  /** Who this client is to the daemon: its scopes, ranges and limits, and what it has used of them. */
  whoami(options?: CallOptions): Promise<Whoami> {
    return this.#get('/whoami', options);
  }

  isLive(options?: CallOptions): Promise<{ status: 'ok' }> {
    return this.#get('/livez', options);
  }

  /** What the daemon waits for, if it is not ready. */
  isReady(options?: CallOptions): Promise<Readiness> {
    return this.#transport.json({ path: '/readyz', expected: [503], retry: 'after_loss' }, options);
  }

  getVersion(options?: CallOptions): Promise<Version> {
    return this.#get('/version', options);
  }

  getRoot(options?: CallOptions): Promise<Root> {
    return this.#transport.json(
      { path: '/', headers: { accept: 'application/json' }, retry: 'after_loss' },
      options,
    );
  }

  /** What a code means, and what to do about it. */
  explainProblem(code: string, options?: CallOptions): Promise<ProblemExplanation> {
    return this.#transport.json(
      {
        path: `/problems/${encodeURIComponent(code)}`,
        headers: { accept: 'application/json' },
        retry: 'after_loss',
      },
      options,
    );
  }

  getOpenApi(options?: CallOptions): Promise<unknown> {
    return this.#get('/openapi.json', options);
  }

  /** Prometheus' text format. */
  getMetrics(options: CallOptions = {}): Promise<string> {
    return this.#transport.call(
      { path: '/metrics', headers: { accept: 'text/plain' }, retry: 'after_loss' },
      options,
      (response) => response.text(),
    );
  }

  #get<T>(path: string, options: CallOptions | undefined, query?: Query): Promise<T> {
    return this.#transport.json({ path, query, retry: 'after_loss' }, options);
  }
}

/** Of how many transfers a stream of events remembers the segments. */
const MAX_SEGMENTED = 1000;
