// SPDX-License-Identifier: Apache-2.0
import { JSON_TYPE, newKey } from './call-options.ts';
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
import { devicePath } from './device-name.ts';
import { TransferClient } from './transfers.ts';
import { type CallOptions, type Query, Transport, type TransportOptions } from './transport.ts';
import type {
  CalibrationRequest,
  Checksum,
  Device,
  Digests,
  Engines,
  Fault,
  FaultRequest,
  FleetHost,
  FleetHostRequest,
  ProblemExplanation,
  Range,
  Readiness,
  Root,
  StreamList,
  UploadResult,
  Version,
  Whoami,
} from './types.ts';

/**
 * The operations of the HTTP interface, one method each. A method rejects with a {@link DmadError},
 * or with what its AbortSignal aborts with.
 */
export class DmadClient extends TransferClient {
  readonly #transport: Transport;

  constructor(options: TransportOptions) {
    const transport = new Transport(options);
    super(transport);
    this.#transport = transport;
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
