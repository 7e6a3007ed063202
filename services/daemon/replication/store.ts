// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { ByteRange } from '../../base/byte-range.ts';
import { deviceNameOf } from '../../base/device-name.ts';
import { seesTransfersOf, type Viewer } from '../../http/access/visibility.ts';
import { fieldProblem, Problem, retryLater } from '../../http/problems/problem.ts';
import type { Device } from '../devices/device.ts';
import { type Inconsistent, InconsistentRanges, keyOf } from './inconsistent.ts';
import type { Replication } from './replication.ts';
import type { ReplicationListQuery, ReplicationRequest } from './schema.ts';

/** How many are kept in all: some 2 KB each. */
export const MAX_KEPT = 10_000;
/** So many each client has, however many others have. */
export const SHARE = 100;
const WEEK_MS = 7 * 24 * 3600 * 1000;
/** How long a key outlives its replication; the HTTP contract's figure. */
const KEY_MS = 24 * 3600 * 1000;

export interface Page {
  replications: Replication[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/** The replications that can be asked for, in the order of their acceptance. */
export class ReplicationStore {
  readonly #byId = new Map<string, Replication>();
  readonly #byKey = new Map<string, Replication>();
  readonly #inconsistent = new InconsistentRanges();
  readonly #onForget: (replication: Replication) => void;

  /** @param onForget receives each that can be asked for no longer */
  constructor(onForget: (replication: Replication) => void) {
    this.#onForget = onForget;
  }

  /** Adds the latest one. */
  add(replication: Replication): void {
    this.#byId.set(replication.id, replication);
    const { client, key } = replication.origin;
    if (key !== undefined) this.#byKey.set(nameOf(client, key), replication);
    this.noteConsistency(replication);
  }

  /** Its consistency has changed. */
  noteConsistency(replication: Replication): void {
    this.#inconsistent.note(replication);
  }

  /** It was not accepted. */
  remove(replication: Replication): void {
    this.#byId.delete(replication.id);
    const { client, key } = replication.origin;
    const name = key === undefined ? undefined : nameOf(client, key);
    if (name !== undefined && this.#byKey.get(name) === replication) this.#byKey.delete(name);
  }

  /** @throws Problem not_found, also if the viewer may not see it */
  get(id: string, viewer: Viewer): Replication {
    const replication = this.#byId.get(id);
    if (replication === undefined || !seesTransfersOf(viewer, replication.origin.client)) {
      throw new Problem('not_found', 'There is no such replication, or it ended too long ago.');
    }
    return replication;
  }

  /** The replication that a key stands for, whatever the request. */
  peek(client: string, key: string): Replication | undefined {
    const known = this.#byKey.get(nameOf(client, key));
    return known?.over && known.overForMs >= KEY_MS ? undefined : known;
  }

  /**
   * The replication that the same request made before, if it did.
   *
   * @throws Problem idempotency_key_reused if another request used the key
   */
  find(client: string, key: string, request: ReplicationRequest): Replication | undefined {
    const known = this.peek(client, key);
    if (known === undefined || isDeepStrictEqual(known.request, request)) return known;
    const detail = 'This Idempotency-Key was used with another body: use a new key.';
    throw new Problem('idempotency_key_reused', detail);
  }

  /**
   * Makes room for another one of a client: of the clients with the most, which may be that one, one
   * loses its oldest.
   *
   * @throws Problem queue_full if none can be forgotten, and the client has its share
   */
  admit(client: string): void {
    if (this.#byId.size < MAX_KEPT) return;
    const counts = new Map<string, number>();
    for (const { origin } of this.#byId.values()) {
      counts.set(origin.client, (counts.get(origin.client) ?? 0) + 1);
    }
    const countOf = ({ origin }: Replication) => counts.get(origin.client) as number;
    const own = counts.get(client) ?? 0;
    let oldest: Replication | undefined;
    for (const replication of this.#forgettable()) {
      if (this.#hasKey(replication) || countOf(replication) < own) continue;
      if (oldest === undefined || countOf(replication) > countOf(oldest)) oldest = replication;
    }
    if (oldest !== undefined) this.#forget(oldest);
    else if (own >= SHARE) {
      const detail = `${MAX_KEPT} replications are kept, and none can be forgotten: they are not over, their Idempotency-Keys are still good, or they left a range inconsistent. Retry later.`;
      throw retryLater('queue_full', detail, 60);
    }
  }

  /** Forgets what ended long ago. */
  forgetOld(): void {
    for (const replication of this.#forgettable()) {
      if (replication.overForMs >= WEEK_MS) this.#forget(replication);
    }
  }

  /**
   * Those that are over and of which no inconsistent range tells any more, oldest first. One that wrote
   * over what an earlier one had left inconsistent is kept as long as that: without it, the next daemon
   * would take the range for inconsistent again.
   */
  *#forgettable(): Generator<Replication> {
    const unproven = new Map<string, ByteRange[]>();
    for (const replication of this.#byId.values()) {
      const { destination, progress, over } = replication;
      const wrote = progress.consistency !== 'unchanged';
      const range = rangeOf(replication);
      const key = keyOf(destination);
      const earlier = unproven.get(key) ?? [];
      const isNeeded = wrote && earlier.some((other) => overlap(range, other));
      if (over && !isNeeded && !this.#inconsistent.has(replication)) yield replication;
      if (progress.consistency !== 'inconsistent' || !this.#byId.has(replication.id)) continue;
      earlier.push(range);
      unproven.set(key, earlier);
    }
  }

  #hasKey({ origin, overForMs }: Replication): boolean {
    return origin.key !== undefined && overForMs < KEY_MS;
  }

  #forget(replication: Replication): void {
    this.remove(replication);
    this.#onForget(replication);
  }

  /** The ranges of a device that are inconsistent, in their order. */
  inconsistentRanges(device: Device): readonly Inconsistent[] {
    return this.#inconsistent.of(device);
  }

  /**
   * One page of what a client sees, newest first.
   *
   * @throws Problem invalid_request if the token is not of a page with the same filters
   */
  page(query: ReplicationListQuery, viewer: Viewer): Page {
    const { page_size: pageSize, page_token: token } = query;
    const filters = filterDigest(query);
    const before = token ? readToken(token, filters) : undefined;
    const replications: Replication[] = [];
    for (const replication of [...this.#byId.values()].reverse()) {
      if (before !== undefined && replication.id >= before) continue;
      if (!seesTransfersOf(viewer, replication.origin.client)) continue;
      if (!matches(replication, query)) continue;
      const last = replications.at(-1);
      if (last !== undefined && replications.length === pageSize) {
        return { replications, nextPageToken: makeToken(last.id, filters) };
      }
      replications.push(replication);
    }
    return { replications, nextPageToken: '' };
  }
}

/** Each client has its own keys; neither names nor keys have line breaks. */
function nameOf(client: string, key: string): string {
  return `${client}\n${key}`;
}

function matches(
  { status, request, destination, settings }: Replication,
  query: ReplicationListQuery,
): boolean {
  if (query.status !== undefined && !query.status.includes(status)) return false;
  if (query.peer !== undefined && request.peer !== query.peer) return false;
  if (query.device_name !== undefined) {
    const names = [deviceNameOf(request.src_device_name), destination.name];
    if (!names.includes(deviceNameOf(query.device_name))) return false;
  }
  return (query.label ?? []).every((pair) => {
    const colon = pair.indexOf(':');
    return settings.labels[pair.slice(0, colon)] === pair.slice(colon + 1);
  });
}

function rangeOf({ request }: Replication): ByteRange {
  return { offset: request.dst_offset, size: request.size };
}

function overlap(a: ByteRange, b: ByteRange): boolean {
  return a.offset < b.offset + b.size && b.offset < a.offset + a.size;
}

/** Page tokens are good only for the filters they were made with (AIP-158). */
function filterDigest({ status, peer, device_name, label }: ReplicationListQuery): string {
  const filters = JSON.stringify([status, peer, device_name, label]);
  return createHash('sha256').update(filters).digest('base64url').slice(0, 12);
}

function makeToken(id: string, filters: string): string {
  return Buffer.from(`${filters}.${id}`).toString('base64url');
}

function readToken(token: string, filters: string): string {
  const [, given, id] =
    /^([\w-]{12})\.([0-9a-f-]{36})$/.exec(Buffer.from(token, 'base64url').toString('latin1')) ?? [];
  if (id !== undefined && given === filters) return id;
  const detail =
    'The query is not valid: page_token is not the next_page_token of a page with the same filters: begin without it.';
  throw fieldProblem('invalid_request', '/page_token', detail);
}
