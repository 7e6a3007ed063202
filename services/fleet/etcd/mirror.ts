// SPDX-License-Identifier: Apache-2.0
import type { FastifyBaseLogger } from 'fastify';
import { FleetState } from './fleet-state.ts';
import { isUnknown } from './group-commit.ts';
import type { Keys, Kind } from './keys.ts';
import { EtcdError, only, type Row, type Store, type Watch } from './store.ts';

export interface MirrorOptions {
  store: Store;
  keys: Keys;
  log: FastifyBaseLogger;
  /**
   * Transfers whose ends somebody waits for. Of the transfers that were accepted and ended while there
   * was no watch, only these are reported to the listener.
   */
  awaited(): Iterable<string>;
}

/** How many rows are read at a time, and at least if etcd does not manage that in time. */
const PAGE = 100;
const MIN_PAGE = 10;
/**
 * In which order what was read is taken over: a host's connection begins with what was seen of it, and
 * a change or a cancellation concerns a transfer that is known.
 */
const APPLIED = [
  ...(['seen', 'hosts', 'gateways', 'transfers', 'changes', 'cancels', 'owners'] as const),
] as const;
/** How far the watch may be behind before it is begun anew, in milliseconds. */
const MAX_LAG_MS = 5000;

/**
 * What is in etcd, in memory, kept up to date by a watch: hosts, gateways, owners, and transfers
 * that have not ended.
 */
export class Mirror extends FleetState {
  readonly #options: MirrorOptions;
  #watch: Watch | undefined;
  #revision = 0;
  #loaded = false;
  #loading: Promise<void> | undefined;
  /** A revision that the watch has to reach, and since when. */
  #expected: { revision: number; since: number } | undefined;
  /** Those who wait for a revision. */
  readonly #reaching = new Set<{ revision: number; reached(): void }>();
  #closed = false;

  constructor(options: MirrorOptions) {
    super(options.keys, options.log);
    this.#options = options;
  }

  /** Whether it has ever been read. */
  get loaded(): boolean {
    return this.#loaded;
  }

  /** Whether it has all that etcd had up to a moment ago. */
  get current(): boolean {
    return this.#loaded && this.#watch !== undefined;
  }

  /** To be called before something is written. @returns what is to hear of the revision of that */
  expectation(): (revision: number) => void {
    const before = this.#revision;
    return (revision) => {
      if (revision < before) this.#begin('etcd has lost changes, as if restored from a backup');
      else this.expect(revision);
    };
  }

  /** etcd has reached a revision: the watch has to reach it soon. Begins the watch if there is none. */
  expect(revision: number): void {
    if (this.#watch === undefined) {
      void this.#load();
      return;
    }
    const now = performance.now();
    if (this.#expected === undefined || this.#revision >= this.#expected.revision) {
      this.#expected = { revision, since: now };
    } else if (now - this.#expected.since > MAX_LAG_MS) {
      this.#begin('the watch on etcd is stuck');
    }
  }

  /** Reads everything again, and begins another watch. */
  #begin(why: string, error?: Error): void {
    this.#options.log.warn({ err: error }, `${why}: reading everything again`);
    this.#stop();
    void this.#load();
  }

  /** Resolves once it has all up to a revision. @throws EtcdError after a while */
  reach(revision: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#reaching.delete(waiting);
        reject(new EtcdError('not_done', `the watch has not reached revision ${revision}`));
      }, MAX_LAG_MS);
      const reached = () => {
        clearTimeout(timer);
        resolve();
      };
      const waiting = { revision, reached };
      this.#reaching.add(waiting);
      this.#tellReached();
    });
  }

  #tellReached(): void {
    if (!this.current) return;
    for (const waiting of this.#reaching) {
      if (waiting.revision > this.#revision) continue;
      this.#reaching.delete(waiting);
      waiting.reached();
    }
  }

  close(): void {
    this.#closed = true;
    this.#stop();
  }

  #stop(): void {
    this.#watch?.close();
    this.#watch = undefined;
    this.#expected = undefined;
  }

  #load(): Promise<void> {
    this.#loading ??= this.#loadAll()
      .catch((error) => this.#options.log.warn({ err: error }, 'could not read from etcd'))
      .finally(() => {
        this.#loading = undefined;
      });
    return this.#loading;
  }

  async #loadAll(): Promise<void> {
    const { store, keys } = this.#options;
    const rows = new Map<Kind, Row[]>();
    let revision: number | undefined;
    for (const kind of APPLIED) {
      const read = await this.#readAll(kind, revision);
      revision ??= read.revision;
      rows.set(kind, read.rows);
    }
    if (this.#closed || revision === undefined) return;
    await this.#replace(rows, revision);
    this.#loaded = true;
    this.#revision = revision;
    this.#watch = store.watch(keys.watched, revision + 1, {
      changed: (changes, at) => {
        this.#revision = at;
        for (const change of changes) this.apply(change);
        this.#tellReached();
      },
      lost: (error) => this.#begin('the watch on etcd was lost', error),
    });
    this.#tellReached();
  }

  /** @param at as it was at this revision; now if absent */
  async #readAll(kind: Kind, at: number | undefined): Promise<{ revision: number; rows: Row[] }> {
    const { store, keys } = this.#options;
    const rows: Row[] = [];
    let revision = at;
    let { from, to } = keys.all(kind);
    for (let limit = PAGE; ; ) {
      try {
        const page = await store.read([{ from, to, limit }], revision);
        revision ??= page.revision;
        const [some = []] = page.rows;
        rows.push(...some);
        const last = some.at(-1);
        if (last === undefined || some.length < limit) return { revision, rows };
        from = `${last.key}\0`;
      } catch (error) {
        // Large transfers can take longer than a call may.
        if (limit === MIN_PAGE || !isUnknown(error)) throw error;
        limit = Math.max(Math.ceil(limit / 2), MIN_PAGE);
      }
    }
  }

  /** Takes over what was read, as it was at a revision, and tells what is different. */
  async #replace(rows: ReadonlyMap<Kind, Row[]>, revision: number): Promise<void> {
    const { keys, awaited } = this.#options;
    const present = new Set<string>();
    for (const row of [...rows.values()].flat()) present.add(row.key);
    // In the order of their acceptance.
    const transfers = rows.get('transfers') ?? [];
    transfers.sort((a, b) => a.created - b.created || (a.key < b.key ? 1 : -1));
    const gone = [
      ...[...this.hosts.keys()].map((name) => keys.host(name)),
      ...[...this.seen.keys()].map((name) => keys.seen(name)),
      ...[...this.gateways].map((id) => keys.gateway(id)),
      ...[...this.owners.keys()].map((name) => keys.owner(name)),
      ...[...this.cancels].map((id) => keys.cancel(id)),
      ...[...this.changes.keys()].map((id) => keys.change(id)),
    ].filter((key) => !present.has(key));
    for (const key of gone) this.apply({ key, value: undefined, created: 0 });
    const known = [...this.running.keys(), ...awaited()];
    const over = new Set(known.filter((id) => !present.has(keys.transfer(id))));
    for (const { id, end } of await this.#readEnds([...over], revision)) {
      // Without an end, what is only awaited may be about to be accepted.
      if (end !== undefined || this.running.has(id)) this.transferEnded(id, end);
    }
    for (const kind of APPLIED) for (const row of rows.get(kind) ?? []) this.apply(row);
  }

  /** @param at later ends are for the watch to tell */
  async #readEnds(ids: readonly string[], at: number) {
    const { keys, store } = this.#options;
    const ends: { id: string; end: string | undefined }[] = [];
    for (let from = 0; from < ids.length; from += MIN_PAGE) {
      const some = ids.slice(from, from + MIN_PAGE);
      const { rows } = await store.read(
        some.map((id) => only(keys.ended(id))),
        at,
      );
      for (const [index, id] of some.entries()) ends.push({ id, end: rows[index]?.[0]?.value });
    }
    return ends;
  }
}
