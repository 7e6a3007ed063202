// SPDX-License-Identifier: Apache-2.0
import type { Client } from '../../http/access/client.ts';
import { seesTransfersOf } from '../../http/access/visibility.ts';
import { makePageToken, readPageToken } from '../../http/page-token.ts';
import { mayUseHosts } from '../access/hosts.ts';
import type { Running } from '../etcd/fleet-state.ts';
import { isUnknown } from '../etcd/group-commit.ts';
import type { Keys } from '../etcd/keys.ts';
import type { Mirror } from '../etcd/mirror.ts';
import type { Row, Store } from '../etcd/store.ts';
import { etcdUnavailable } from './acceptance.ts';
import { documentFor, matcherOf } from './document.ts';
import { readEnded, readRunning } from './record.ts';
import { type FleetListQuery, type FleetTransfer, hostsOf } from './schema.ts';
import type { View } from './views.ts';

/** How many rows are read at a time, and for one page at most. */
const ROWS_AT_ONCE = 100;
/** How many at least, if etcd does not manage that in time: transfers can have 4096 segments. */
const MIN_ROWS_AT_ONCE = 10;
const MAX_ROWS = 5000;
/** A page ends early once its transfers have so many segments: about 5 MB. */
const MAX_SEGMENTS = 65_536;

export interface ListerOptions {
  store: Store;
  keys: Keys;
  mirror: Mirror;
  viewOf(running: Running): View;
  /** Whether etcd can be asked. */
  reachable(): boolean;
}

export interface Page {
  transfers: FleetTransfer[];
  /** Empty on the last page. */
  nextPageToken: string;
  stale: boolean;
}

interface Found {
  transfers: FleetTransfer[];
  /** Id of the last one that was looked at; undefined if there are no more. */
  last: string | undefined;
  stale: boolean;
}

interface ReadRow {
  id: string;
  /** undefined for what another version wrote. */
  view: View | undefined;
}

/** Lists transfers, newest first. */
export class Lister {
  readonly #options: ListerOptions;

  constructor(options: ListerOptions) {
    this.#options = options;
  }

  /** @throws Problem invalid_request, etcd_unavailable */
  async list(query: FleetListQuery, client: Client): Promise<Page> {
    const filters = filtersOf(query);
    const from = readPageToken(query.page_token, filters);
    const { last, ...found } = await this.#find(from, query, client);
    return { ...found, nextPageToken: last === undefined ? '' : makePageToken(last, filters) };
  }

  /** @param from id of the last one of the page before */
  async #find(from: string | undefined, query: FleetListQuery, client: Client): Promise<Found> {
    const matches = matcherOf(query);
    const found: FleetTransfer[] = [];
    let segments = 0;
    const full = () => found.length === query.page_size || segments >= MAX_SEGMENTS;
    const take = ({ owner, document }: View) => {
      const own = seesTransfersOf(client, owner) && mayUseHosts(client, hostsOf(document));
      if (!own || !matches(document)) return;
      found.push(documentFor(client, owner, document));
      segments += document.segments?.length ?? 0;
    };
    const { mirror, reachable } = this.#options;
    if (!reachable()) {
      if (!mirror.loaded) throw etcdUnavailable();
      return this.#known(from, full, take, found);
    }
    let last = from;
    for (let read = 0; read < MAX_ROWS && !full(); ) {
      const { rows, more } = await this.#read(last);
      for (const { id, view } of rows) {
        if (full()) return { transfers: found, last, stale: false };
        if (view !== undefined) take(view);
        last = id;
        read++;
      }
      if (!more) return { transfers: found, last: undefined, stale: false };
    }
    return { transfers: found, last, stale: false };
  }

  /** What has not ended, as it is known here: etcd, which has the others, cannot be asked. */
  #known(
    from: string | undefined,
    full: () => boolean,
    take: (view: View) => void,
    found: FleetTransfer[],
  ): Found {
    const { mirror, viewOf } = this.#options;
    const ids = [...mirror.running.keys()].filter((id) => from === undefined || id < from);
    let last: string | undefined;
    for (const id of ids.sort().reverse()) {
      if (full()) return { transfers: found, last, stale: true };
      take(viewOf(mirror.running.get(id) as Running));
      last = id;
    }
    return { transfers: found, last: undefined, stale: true };
  }

  /** Transfers older than one, newest first, whether they have ended or not. */
  async #read(last: string | undefined): Promise<{ rows: ReadRow[]; more: boolean }> {
    const { keys, viewOf } = this.#options;
    const { rows, limit } = await this.#readRows(last);
    const [ended = [], running = []] = rows;
    const idOf = ({ key }: Row) => keys.parse(key)?.name ?? '';
    const all = [...ended, ...running].sort((a, b) => (idOf(a) < idOf(b) ? 1 : -1));
    // Behind the last of a part that was cut, the other part might be missing some.
    const ends = [ended, running].flatMap((part) => {
      const end = part.length === limit ? part.at(-1) : undefined;
      return end === undefined ? [] : [idOf(end)];
    });
    const oldest = ends.sort().at(-1);
    const complete = all.filter((row) => oldest === undefined || idOf(row) >= oldest);
    return {
      rows: complete.map((row) => ({ id: idOf(row), view: this.#viewOfRow(row, viewOf) })),
      more: oldest !== undefined,
    };
  }

  async #readRows(last: string | undefined): Promise<{ rows: Row[][]; limit: number }> {
    const { store, keys, reachable } = this.#options;
    for (let limit = ROWS_AT_ONCE; ; limit = Math.max(Math.ceil(limit / 2), MIN_ROWS_AT_ONCE)) {
      try {
        const { rows } = await store.read([
          keys.olderThan('ended', last, limit),
          keys.olderThan('transfers', last, limit),
        ]);
        return { rows, limit };
      } catch (error) {
        const tooLarge = isUnknown(error) && reachable() && limit > MIN_ROWS_AT_ONCE;
        if (!tooLarge) throw etcdUnavailable();
      }
    }
  }

  #viewOfRow(row: Row, viewOf: ListerOptions['viewOf']): View | undefined {
    if (this.#options.keys.parse(row.key)?.kind === 'ended') {
      const ended = readEnded(row.value);
      if (ended === undefined) return undefined;
      return { owner: ended.client, document: ended.document, ended, running: undefined };
    }
    const record = readRunning(row.value);
    return record && viewOf({ record, created: row.created });
  }
}

function filtersOf(query: FleetListQuery): unknown[] {
  const { status, operation, device_name, engine, label, host } = query;
  const { created_after, created_before } = query;
  return [status, operation, device_name, engine, label, host, created_after, created_before];
}
