// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from 'node:util';
import sortedBtree from 'sorted-btree';
import type { ByteRange } from '../../base/byte-range.ts';
import { deviceNameOf } from '../../base/device-name.ts';
import { seesTransfersOf, type Viewer } from '../../http/access/visibility.ts';
import { makePageToken, readPageToken } from '../../http/page-token.ts';
import { Problem, retryLater } from '../../http/problems/problem.ts';
import type { Device } from '../devices/device.ts';
import type { Writing, Written } from '../devices/written.ts';
import { ConsistencyMap, type Mark } from './consistency.ts';
import type { Inconsistent, Writer } from './inconsistent.ts';
import type { EarlierReplication } from './read-rows.ts';
import type { Replication } from './replication.ts';
import type { ReplicationListQuery, ReplicationRequest } from './schema.ts';

// The package is CommonJS: its class is a property of what Node imports as the default.
const BTree = sortedBtree.default;

/** How many replications are kept in all: some 2 KB each. */
export const MAX_KEPT = 10_000;
/** How many each client may have even if all places are taken. */
export const SHARE = 100;
const WEEK_MS = 7 * 24 * 3600 * 1000;
/** How long a key outlives its replication; the HTTP contract's figure. */
const KEY_MS = 24 * 3600 * 1000;

/** The most characters that a page's documents have together; a single document may have more. */
const MAX_PAGE_SIZE = 2 * 2 ** 20;
/** The most characters that a document has without what its client and its peer have written. */
const DOCUMENT_SIZE = 1500;

export interface Page {
  replications: Replication[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/** The replications that can be asked for, in the order of their acceptance. */
export class ReplicationStore {
  readonly #byId = new BTree<string, Replication>();
  readonly #byKey = new Map<string, Replication>();
  /** How many replications each client has. */
  readonly #counts = new Map<string, number>();
  readonly #inconsistent: ConsistencyMap;
  readonly #onForget: (replication: Replication) => void;

  /**
   * @param onForget receives each replication that is forgotten
   * @param onChanged receives each writer for which {@link leftInconsistent} has changed
   */
  constructor(onForget: (replication: Replication) => void, onChanged: (writer: Writer) => void) {
    this.#onForget = onForget;
    this.#inconsistent = new ConsistencyMap(onChanged);
  }

  add(replication: Replication): void {
    this.#byId.set(replication.id, replication);
    const { client, key } = replication.origin;
    this.#counts.set(client, (this.#counts.get(client) ?? 0) + 1);
    if (key === undefined) return;
    const name = nameOf(client, key);
    // A later one may have been added before: those of earlier daemons are read in any order.
    const known = this.#byKey.get(name);
    if (known === undefined || known.id < replication.id) this.#byKey.set(name, replication);
  }

  /** Adds a replication of an earlier daemon; later ones may have been added before. */
  restore({ replication, inconsistent, copies }: EarlierReplication): void {
    this.add(replication);
    // Rows of an earlier version may still have the ranges that it has proven.
    if (replication.progress.consistency === 'consistent') this.noteConsistency(replication);
    this.#inconsistent.restore(replication, inconsistent);
    for (const { copy, ranges } of copies) this.#inconsistent.restore(copy, ranges);
  }

  /** Its consistency has changed. */
  noteConsistency(replication: Replication): void {
    this.#inconsistent.note(replication);
  }

  /** It was not accepted. */
  remove(replication: Replication): void {
    if (!this.#byId.delete(replication.id)) return;
    const { client, key } = replication.origin;
    const count = this.#counts.get(client) as number;
    if (count > 1) this.#counts.set(client, count - 1);
    else this.#counts.delete(client);
    const name = key === undefined ? undefined : nameOf(client, key);
    if (name !== undefined && this.#byKey.get(name) === replication) this.#byKey.delete(name);
  }

  has(id: string): boolean {
    return this.#byId.has(id);
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
    return known?.finished && known.finishedForMs >= KEY_MS ? undefined : known;
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
   * Makes room for another replication of a client: the client with the most, which may be this one, loses
   * its oldest.
   *
   * @throws Problem queue_full if none can be forgotten, and the client has its share
   */
  admit(client: string): void {
    if (this.#byId.size < MAX_KEPT) return;
    const countOf = ({ origin }: Replication) => this.#counts.get(origin.client) as number;
    const own = this.#counts.get(client) ?? 0;
    let oldest: Replication | undefined;
    for (const replication of this.#forgettable()) {
      if (this.#hasKey(replication) || countOf(replication) < own) continue;
      if (oldest === undefined || countOf(replication) > countOf(oldest)) oldest = replication;
    }
    if (oldest !== undefined) this.#forget(oldest);
    else if (own >= SHARE) {
      const detail = `${MAX_KEPT} replications are kept, and none can be forgotten: they have not finished, their Idempotency-Keys are still valid, or they left a range inconsistent. Retry later.`;
      throw retryLater('queue_full', detail, 60);
    }
  }

  /** Forgets what ended long ago. */
  forgetOld(): void {
    for (const replication of [...this.#forgettable()]) {
      if (replication.finishedForMs >= WEEK_MS) this.#forget(replication);
    }
  }

  /** Finished replications that left no inconsistent range, oldest first. */
  *#forgettable(): Generator<Replication> {
    for (const replication of this.#byId.values()) {
      if (replication.finished && !this.#inconsistent.has(replication)) yield replication;
    }
  }

  #hasKey({ origin, finishedForMs }: Replication): boolean {
    return origin.key !== undefined && finishedForMs < KEY_MS;
  }

  #forget(replication: Replication): void {
    this.remove(replication);
    this.#onForget(replication);
  }

  /** The ranges of a device that are inconsistent, in their order. */
  inconsistentRanges(device: Device): readonly Inconsistent[] {
    return this.#inconsistent.of(device);
  }

  /** The ranges that a replication or a copy has left inconsistent and nothing has durably overwritten since. */
  leftInconsistent(writer: Writer): ByteRange[] {
    return this.#inconsistent.leftBy(writer);
  }

  /** The ranges that a copy will make inconsistent: see {@link mark}. */
  marksOf(writing: Writing): Mark[] {
    return this.#inconsistent.marksOf(writing);
  }

  /** A copy is about to make these ranges inconsistent. */
  mark(marks: readonly Mark[]): void {
    this.#inconsistent.mark(marks);
  }

  /** Other work has written these bytes. */
  written(written: Written): void {
    this.#inconsistent.written(written);
  }

  /**
   * One page of what a client sees, newest first. It may be shorter than requested although more follow.
   *
   * @throws Problem invalid_request if the token is not of a page with the same filters
   */
  page(query: ReplicationListQuery, viewer: Viewer): Page {
    const { page_size: pageSize, page_token: token } = query;
    const filters = filtersOf(query);
    const before = readPageToken(token, filters);
    const replications: Replication[] = [];
    let size = 0;
    for (const [, replication] of this.#byId.entriesReversed(before, undefined, true)) {
      if (!seesTransfersOf(viewer, replication.origin.client)) continue;
      if (!matches(replication, query)) continue;
      const last = replications.at(-1);
      size += sizeOf(replication);
      if (last !== undefined && (replications.length === pageSize || size > MAX_PAGE_SIZE)) {
        return { replications, nextPageToken: makePageToken(last.id, filters) };
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
  { status, request, deviceNames, settings }: Replication,
  query: ReplicationListQuery,
): boolean {
  if (query.status !== undefined && !query.status.includes(status)) return false;
  if (query.peer !== undefined && request.peer !== query.peer) return false;
  if (query.device_name !== undefined && !deviceNames.includes(deviceNameOf(query.device_name))) {
    return false;
  }
  return (query.label ?? []).every((pair) => {
    const colon = pair.indexOf(':');
    return settings.labels[pair.slice(0, colon)] === pair.slice(colon + 1);
  });
}

/** The most characters that its document has. */
function sizeOf({ settings, outcome }: Replication): number {
  const words = outcome?.error?.message.length ?? 0;
  return DOCUMENT_SIZE + words + JSON.stringify(settings.labels).length;
}

function filtersOf({ status, peer, device_name, label }: ReplicationListQuery): unknown[] {
  return [status, peer, device_name, label];
}
