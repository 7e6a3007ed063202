// SPDX-License-Identifier: Apache-2.0
import { ConstantBackoff, noop } from 'cockatiel';
import {
  Etcd3,
  EtcdLeaseInvalidError,
  type ICompare,
  type IKeyValue,
  type IRequestOp,
  type IWatchResponse,
} from 'etcd3';
import { resumeExactly } from './exact-resume.ts';
import {
  type Condition,
  EtcdError,
  type EtcdFailure,
  type Range,
  type Row,
  type Snapshot,
  type Store,
  type Watch,
  type WatchListener,
  type Write,
  type Written,
} from './store.ts';

export interface EtcdOptions {
  urls: readonly string[];
  /** PEM. */
  tls?: { ca: Buffer; cert?: Buffer | undefined; key?: Buffer | undefined } | undefined;
  user?: { name: string; password: string } | undefined;
}

/** How long etcd may take. It gives up itself after 7 s, if it has no leader. */
const CALL_MS = 4000;
/** How soon a connection that a watch has lost is made again. */
const WATCH_BACKOFF_MS = 200;
const CHANNEL_OPTIONS = {
  // A page of large transfers is larger than the default of 4 MiB.
  'grpc.max_receive_message_length': -1,
  // etcd closes connections that ask more often than every 5 s.
  'grpc.keepalive_time_ms': 6000,
  'grpc.keepalive_timeout_ms': 2000,
};

/** etcd, by its own protocol. */
export class EtcdStore implements Store {
  readonly #options: EtcdOptions;
  readonly #client: Etcd3;

  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#client = this.#connect();
  }

  async write(conditions: readonly Condition[], writes: readonly Write[]): Promise<Written> {
    const { succeeded, header } = await this.#try(() =>
      this.#client.kv.txn({
        compare: conditions.map(compareOf),
        success: writes.map(requestOf),
        failure: [],
      }),
    );
    return { held: succeeded, revision: Number(header.revision) };
  }

  async read(ranges: readonly Range[], revision = 0): Promise<Snapshot> {
    const success = ranges.map(({ from, to, limit = 0 }) => ({
      request_range: { key: Buffer.from(from), range_end: Buffer.from(to), limit, revision },
    }));
    const read = () => this.#client.kv.txn({ compare: [], success, failure: [] });
    // Reading again does no harm, and another member may answer.
    const { responses, header } = await this.#try(read).catch((error: EtcdError) => {
      if (this.#options.urls.length === 1) throw error;
      return this.#try(read);
    });
    return {
      revision: Number(header.revision),
      rows: responses.map(({ response_range }) => response_range.kvs.map(rowOf)),
    };
  }

  watch({ from, to }: Range, revision: number, listener: WatchListener): Watch {
    // A client of its own: a watch whose connection is stuck can be closed without the others.
    const client = this.#connect();
    let open = true;
    const watcher = client
      .watch()
      .inRange({ start: from, end: to })
      .startRevision(String(revision))
      .watcher();
    const completedBy = resumeExactly(watcher, revision);
    watcher.on('data', (response: IWatchResponse) => {
      if (!open) return;
      const { events } = response;
      const changes = events.map(({ type, kv }) => ({
        key: kv.key.toString(),
        value: String(type) === 'Delete' ? undefined : kv.value.toString(),
        created: Number(kv.create_revision),
      }));
      listener.changed(changes, completedBy(response));
    });
    watcher.on('error', (error: Error) => {
      if (open) listener.lost(error);
    });
    return {
      close: () => {
        open = false;
        client.close();
      },
    };
  }

  async grantLease(seconds: number): Promise<string> {
    const { ID } = await this.#try(() => this.#client.leaseClient.leaseGrant({ TTL: seconds }));
    return ID;
  }

  async keepLease(id: string): Promise<boolean> {
    const stream = await this.#try(() => this.#client.leaseClient.leaseKeepAlive(deadline()));
    return this.#try(() =>
      new Promise<boolean>((resolve, reject) => {
        stream.on('data', ({ TTL }) => resolve(TTL !== '0'));
        stream.on('error', reject);
        stream.on('end', () => reject(new Error('etcd ended the stream')));
        stream.write({ ID: id });
      }).finally(() => stream.end()),
    );
  }

  async revokeLease(id: string): Promise<void> {
    try {
      await this.#try(() => this.#client.leaseClient.leaseRevoke({ ID: id }));
    } catch (error) {
      if (!((error as Error).cause instanceof EtcdLeaseInvalidError)) throw error;
    }
  }

  close(): void {
    this.#client.close();
  }

  #connect(): Etcd3 {
    const { urls, tls, user } = this.#options;
    return new Etcd3({
      hosts: [...urls],
      ...(tls && {
        credentials: {
          rootCertificate: tls.ca,
          ...(tls.cert && { certChain: tls.cert }),
          ...(tls.key && { privateKey: tls.key }),
        },
      }),
      ...(user && { auth: { username: user.name, password: user.password } }),
      grpcOptions: CHANNEL_OPTIONS,
      defaultCallOptions: ({ isStream }) => (isStream ? {} : deadline()),
      // Whether a call may be made again depends on what it does: that is decided by who makes it.
      faultHandling: {
        ...{ host: () => noop, global: noop },
        watchBackoff: new ConstantBackoff(WATCH_BACKOFF_MS).next(),
      },
    });
  }

  async #try<Result>(call: () => Promise<Result>): Promise<Result> {
    try {
      return await call();
    } catch (error) {
      const { message } = error as Error;
      throw Object.assign(new EtcdError(failureOf(message), message), { cause: error });
    }
  }
}

function deadline() {
  return { deadline: Date.now() + CALL_MS };
}

/** What gRPC and etcd say before they have begun. */
const NOT_DONE =
  /No connection established|Name resolution failed|ECONNREFUSED|too many requests|permission denied|authentication failed|invalid auth token|user name is empty|request is too large|client was already closed/i;

function failureOf(message: string): EtcdFailure {
  if (/database space exceeded/.test(message)) return 'full';
  if (/requested lease not found/.test(message)) return 'no_lease';
  return NOT_DONE.test(message) ? 'not_done' : 'unknown';
}

function compareOf(condition: Condition): ICompare {
  const key = Buffer.from(condition.key);
  switch (condition.is) {
    case 'absent':
      return { key, target: 'Create', result: 'Equal', create_revision: 0 };
    case 'present':
      return { key, target: 'Create', result: 'Greater', create_revision: 0 };
    case 'equal':
      return { key, target: 'Value', result: 'Equal', value: Buffer.from(condition.value) };
  }
}

function requestOf(write: Write): IRequestOp {
  if ('delete' in write) return { request_delete_range: { key: Buffer.from(write.delete) } };
  const { put, value, lease = 0 } = write;
  return { request_put: { key: Buffer.from(put), value: Buffer.from(value), lease } };
}

function rowOf({ key, value, create_revision }: IKeyValue): Row {
  return { key: key.toString(), value: value.toString(), created: Number(create_revision) };
}
