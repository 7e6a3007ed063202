// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { seesTransfersOf, type Viewer } from '../access/visibility.ts';
import type { ByteRange } from '../base/byte-range.ts';
import { deviceNameOf } from '../base/device-name.ts';
import type { InconsistentRanges } from '../devices/schema.ts';
import { fieldProblem, Problem, retryLater } from '../problems/problem.ts';
import type { Replication } from './replication.ts';
import type { ReplicationListQuery, ReplicationRequest } from './schema.ts';

/** How many are kept in all: some 2 KB each. */
const MAX_KEPT = 10_000;
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

  /** Makes room for another one. @throws Problem queue_full if none can be forgotten */
  admit(): void {
    if (this.#byId.size < MAX_KEPT) return;
    for (const replication of this.#byId.values()) {
      if (!replication.over || this.#isHeld(replication)) continue;
      this.#forget(replication);
      return;
    }
    const detail = `${MAX_KEPT} replications are under way, or their Idempotency-Keys are still good: retry later.`;
    throw retryLater('queue_full', detail, 60);
  }

  /** Forgets what ended long ago, unless its range is inconsistent since. */
  forgetOld(): void {
    for (const replication of this.#byId.values()) {
      if (!replication.over || replication.overForMs < WEEK_MS) continue;
      if (replication.progress.consistency !== 'inconsistent') this.#forget(replication);
    }
  }

  #isHeld({ origin, overForMs }: Replication): boolean {
    return origin.key !== undefined && overForMs < KEY_MS;
  }

  #forget(replication: Replication): void {
    this.remove(replication);
    this.#onForget(replication);
  }

  /**
   * The ranges of a device that are inconsistent. A replication that has since proven all of such a
   * range has made it consistent.
   */
  inconsistentRanges(device: string): InconsistentRanges {
    const proven: ByteRange[] = [];
    const found: InconsistentRanges = [];
    for (const replication of [...this.#byId.values()].reverse()) {
      if (replication.destination.name !== device) continue;
      const { dst_offset: offset, size } = replication.request;
      const { consistency } = replication.progress;
      if (consistency === 'consistent') proven.push({ offset, size });
      if (consistency !== 'inconsistent') continue;
      const left = proven.reduce<ByteRange[]>(
        (ranges, range) => without(ranges, range),
        [{ offset, size }],
      );
      found.push(...left.map((range) => ({ ...range, replication: replication.id })));
    }
    return found.sort((a, b) => a.offset - b.offset);
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

/** What is left of ranges outside another one. */
function without(ranges: readonly ByteRange[], { offset, size }: ByteRange): ByteRange[] {
  const end = offset + size;
  return ranges.flatMap((range) => {
    const rangeEnd = range.offset + range.size;
    return [
      { offset: range.offset, size: Math.min(rangeEnd, offset) - range.offset },
      { offset: Math.max(range.offset, end), size: rangeEnd - Math.max(range.offset, end) },
    ].filter((left) => left.size > 0);
  });
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
