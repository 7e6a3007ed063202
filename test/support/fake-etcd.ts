// SPDX-License-Identifier: Apache-2.0
import {
  type Change,
  type Condition,
  EtcdError,
  type Range,
  type Row,
  type Snapshot,
  type Store,
  type Watch,
  type WatchListener,
  type Write,
  type Written,
} from '../../services/fleet/etcd/store.ts';

/** The fate of a write. `lost`: it is done, but its answer is lost. */
export type Fate = 'done' | 'not_done' | 'lost' | 'unknown' | 'full';

interface Kept extends Row {
  lease: string | undefined;
}

/** etcd in memory, whose writes fail as a test wants. */
export class FakeEtcd implements Store {
  readonly rows = new Map<string, Kept>();
  /** Each transaction that was tried. */
  readonly written: { conditions: readonly Condition[]; writes: readonly Write[] }[] = [];
  /** Decides what becomes of the next write. */
  fate: () => Fate = () => 'done';
  /** How many turns of the event loop a call takes. */
  delay: () => number = () => 1;
  readonly #watches = new Set<{ range: Range; from: number; listener: WatchListener }>();
  readonly #leases = new Set<string>();
  #revision = 1;
  #nextLease = 1;

  async write(conditions: readonly Condition[], writes: readonly Write[]): Promise<Written> {
    const fate = this.fate();
    await this.#pass();
    this.written.push({ conditions, writes });
    if (fate === 'not_done') throw new EtcdError('not_done', 'No connection established');
    if (fate === 'full') throw new EtcdError('full', 'database space exceeded');
    if (fate === 'unknown') throw new EtcdError('unknown', 'request timed out');
    const leases = writes.flatMap((write) => ('put' in write && write.lease ? [write.lease] : []));
    if (leases.some((lease) => !this.#leases.has(lease))) {
      throw new EtcdError('no_lease', 'requested lease not found');
    }
    const held = conditions.every((condition) => this.#holds(condition));
    if (held) this.#apply(writes);
    await this.#pass();
    if (fate === 'lost') throw new EtcdError('unknown', 'Connection dropped');
    return { held, revision: this.#revision };
  }

  async read(ranges: readonly Range[]): Promise<Snapshot> {
    await this.#pass();
    const sorted = [...this.rows.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    return {
      revision: this.#revision,
      rows: ranges.map(({ from, to, limit = Number.POSITIVE_INFINITY }) =>
        sorted.filter(({ key }) => key >= from && key < to).slice(0, limit),
      ),
    };
  }

  watch(range: Range, from: number, listener: WatchListener): Watch {
    const watch = { range, from, listener };
    this.#watches.add(watch);
    return { close: () => this.#watches.delete(watch) };
  }

  async grantLease(): Promise<string> {
    await this.#pass();
    const lease = String(this.#nextLease++);
    this.#leases.add(lease);
    return lease;
  }

  async keepLease(id: string): Promise<boolean> {
    await this.#pass();
    return this.#leases.has(id);
  }

  async revokeLease(id: string): Promise<void> {
    await this.#pass();
    this.#leases.delete(id);
    const gone = [...this.rows.values()].filter(({ lease }) => lease === id);
    this.#apply(gone.map(({ key }) => ({ delete: key })));
  }

  close(): void {}

  /** @returns makes it what it is now, as from a backup; watches then wait for revisions to come */
  backUp(): () => void {
    const rows = [...this.rows];
    const revision = this.#revision;
    return () => {
      this.rows.clear();
      for (const [key, row] of rows) this.rows.set(key, row);
      this.#revision = revision;
    };
  }

  /** Ends all leases, as if their holders were away for too long. */
  async expireLeases(): Promise<void> {
    for (const lease of [...this.#leases]) await this.revokeLease(lease);
  }

  #holds(condition: Condition): boolean {
    const row = this.rows.get(condition.key);
    if (condition.is === 'absent') return row === undefined;
    if (condition.is === 'present') return row !== undefined;
    return row?.value === condition.value;
  }

  #apply(writes: readonly Write[]): void {
    this.#revision++;
    const changes: Change[] = [];
    for (const write of writes) {
      if ('delete' in write) {
        if (!this.rows.delete(write.delete)) continue;
        changes.push({ key: write.delete, value: undefined, created: 0 });
      } else {
        const { put: key, value, lease } = write;
        const created = this.rows.get(key)?.created ?? this.#revision;
        this.rows.set(key, { key, value, created, lease });
        changes.push({ key, value, created });
      }
    }
    const revision = this.#revision;
    for (const watch of this.#watches) {
      const { range, from, listener } = watch;
      if (revision < from) continue;
      watch.from = revision + 1;
      const seen = changes.filter(({ key }) => key >= range.from && key < range.to);
      if (seen.length > 0) setImmediate(() => listener.changed(seen, revision));
    }
  }

  async #pass(): Promise<void> {
    for (let turns = this.delay(); turns > 0; turns--) await new Promise(setImmediate);
  }
}
