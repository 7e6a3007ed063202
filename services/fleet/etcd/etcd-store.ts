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
  tls?: { ca: string; cert: string | undefined; key: string | undefined } | undefined;
  user?: { name: string; password: string } | undefined;
}

/** How long etcd may take. It gives up itself after 7 s, if it has no leader. */
const CALL_MS = 4000;
/** How long a member of several may take to renew a lease, which has to be done within 3.5 s. */
const RENEW_MS = 1000;
/** How soon a connection that a watch has lost is made again. */
const WATCH_BACKOFF_MS = 200;
const CHANNEL_OPTIONS = {
  // A page of large transfers is larger than the default of 4 MiB.
  'grpc.max_receive_message_length': -1,
  // etcd closes connections that ask more often than every 5 s.
  'grpc.keepalive_time_ms': 6000,
  'grpc.keepalive_timeout_ms': 2000,
};

/** etcd takes so many operations in a transaction (--max-txn-ops)… */
const MAX_OPERATIONS = 128;
/** …and as many in a nested one as the outer one has left, which may have 88 conditions. */
const NESTED_OPERATIONS = 40;

/** How many members are asked for the same. The next call begins with the one that comes then. */
const MAX_ASKED = 2;
/** Failures that another member may not have. */
const ANY: readonly EtcdFailure[] = ['not_done', 'unknown'];

/** etcd, by its own protocol. */
export class EtcdStore implements Store {
  readonly #options: EtcdOptions;
  /** One for each member of etcd, any of which answers for all. */
  readonly #members: readonly Etcd3[];
  /** The index of the member that is asked: another one, once it has not answered. */
  #current: number;

  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#members = options.urls.map((url) => this.#connect([url]));
    this.#current = Math.floor(Math.random() * this.#members.length);
  }

  async write(
    conditions: readonly Condition[],
    writes: readonly Write[],
    { urgent = false } = {},
  ): Promise<Written> {
    const request = {
      compare: conditions.map(compareOf),
      success: nested(writes.map(requestOf)),
      failure: [],
    };
    const { succeeded, header } = await this.#ask(urgent ? ANY : ['not_done'], ({ kv }) =>
      kv.txn(request, deadline(urgent ? this.#renewMs : CALL_MS)),
    );
    return { held: succeeded, revision: Number(header.revision) };
  }

  async read(ranges: readonly Range[], revision = 0): Promise<Snapshot> {
    const success = ranges.map(({ from, to, limit = 0 }) => ({
      request_range: { key: Buffer.from(from), range_end: Buffer.from(to), limit, revision },
    }));
    const { responses, header } = await this.#ask(ANY, ({ kv }) =>
      kv.txn({ compare: [], success, failure: [] }),
    );
    return {
      revision: Number(header.revision),
      rows: responses.map(({ response_range }) => response_range.kvs.map(rowOf)),
    };
  }

  watch({ from, to }: Range, revision: number, listener: WatchListener): Watch {
    // A client of its own: a watch whose connection is stuck can be closed without the others.
    const client = this.#connect(this.#options.urls);
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
    const { ID } = await this.#ask(ANY, ({ leaseClient }) =>
      leaseClient.leaseGrant({ TTL: seconds }),
    );
    return ID;
  }

  async keepLease(id: string): Promise<boolean> {
    return this.#ask(ANY, async ({ leaseClient }) => {
      const stream = await leaseClient.leaseKeepAlive(deadline(this.#renewMs));
      const kept = new Promise<boolean>((resolve, reject) => {
        stream.on('data', ({ TTL }) => resolve(TTL !== '0'));
        stream.on('error', reject);
        stream.on('end', () => reject(new Error('etcd ended the stream')));
        stream.write({ ID: id });
      });
      return kept.finally(() => stream.end());
    });
  }

  async revokeLease(id: string): Promise<void> {
    try {
      await this.#ask(ANY, ({ leaseClient }) => leaseClient.leaseRevoke({ ID: id }));
    } catch (error) {
      if (!((error as Error).cause instanceof EtcdLeaseInvalidError)) throw error;
    }
  }

  close(): void {
    for (const member of this.#members) member.close();
  }

  #connect(urls: readonly string[]): Etcd3 {
    const { tls, user } = this.#options;
    return new Etcd3({
      hosts: [...urls],
      ...(tls && {
        credentials: {
          rootCertificate: Buffer.from(tls.ca),
          ...(tls.cert !== undefined && { certChain: Buffer.from(tls.cert) }),
          ...(tls.key !== undefined && { privateKey: Buffer.from(tls.key) }),
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

  get #renewMs(): number {
    return this.#members.length > 1 ? RENEW_MS : CALL_MS;
  }

  /** @param again the failures after which another member is asked, if there is one */
  async #ask<Result>(
    again: readonly EtcdFailure[],
    call: (member: Etcd3) => Promise<Result>,
  ): Promise<Result> {
    for (let left = Math.min(this.#members.length, MAX_ASKED); ; left--) {
      const asked = this.#current;
      try {
        return await call(this.#members[asked] as Etcd3);
      } catch (error) {
        const { message } = error as Error;
        const failure = failureOf(message);
        // Of several calls that fail at once, the first one turns to the next member.
        if (ANY.includes(failure) && this.#current === asked) {
          this.#current = (asked + 1) % this.#members.length;
        }
        if (left > 1 && again.includes(failure)) continue;
        throw Object.assign(new EtcdError(failure, message), { cause: error });
      }
    }
  }
}

function deadline(ms = CALL_MS) {
  return { deadline: Date.now() + ms };
}

/** What gRPC and etcd say before they have begun. */
const NOT_DONE =
  /No connection established|Name resolution failed|ECONNREFUSED|too many requests|request is too large|client was already closed/i;
/** What etcd says to a client that may not do something, or whom it does not know. */
const DENIED =
  /permission denied|authentication (?:failed|is not enabled)|invalid auth token|user name is empty|revision of auth store is old/i;

function failureOf(message: string): EtcdFailure {
  if (/database space exceeded/.test(message)) return 'full';
  if (/requested lease not found/.test(message)) return 'no_lease';
  if (DENIED.test(message)) return 'denied';
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

/** Many operations as nested transactions: so many are done together as fit into a request. */
function nested(requests: IRequestOp[]): IRequestOp[] {
  if (requests.length <= MAX_OPERATIONS) return requests;
  const groups: IRequestOp[] = [];
  for (let at = 0; at < requests.length; at += NESTED_OPERATIONS) {
    const success = requests.slice(at, at + NESTED_OPERATIONS);
    groups.push({ request_txn: { compare: [], success, failure: [] } });
  }
  return groups;
}

function rowOf({ key, value, create_revision }: IKeyValue): Row {
  return { key: key.toString(), value: value.toString(), created: Number(create_revision) };
}
