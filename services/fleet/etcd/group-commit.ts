// SPDX-License-Identifier: Apache-2.0
import { type Condition, EtcdError, type Store, type Write } from './store.ts';

/** etcd takes so many operations in a transaction (--max-txn-ops)… */
const MAX_OPERATIONS = 128;
/** …and a request of up to 1.5 MiB (--max-request-bytes). */
const MAX_BYTES = 2 ** 20;
const OPERATION_BYTES = 200;
/** How long a unit may wait for those before it, in milliseconds: as long as etcd may take for a call. */
const MAX_WAIT_MS = 4000;

/** What is written together or not at all. */
export interface Unit {
  conditions: readonly Condition[];
  writes: readonly Write[];
}

interface Waiting {
  unit: Unit;
  bytes: number;
  /** By performance.now(). */
  since: number;
  resolve(held: boolean): void;
  reject(error: unknown): void;
}

/**
 * Writes units in as few transactions as can be: what comes while one is under way shares the next,
 * in the order in which it came. etcd syncs once for each, so there is one of these for all that a
 * gateway writes of transfers.
 */
export class GroupCommit {
  readonly #store: Pick<Store, 'write'>;
  #waiting: Waiting[] = [];
  #writing = false;

  constructor(store: Pick<Store, 'write'>) {
    this.#store = store;
  }

  /**
   * @returns whether the unit's conditions held, and so it is written
   * @throws EtcdError; `not_done` also if etcd does not answer those before it
   */
  write(unit: Unit): Promise<boolean> {
    return new Promise((resolve, reject) => {
      const since = performance.now();
      this.#waiting.push({ unit, bytes: sizeOf(unit), since, resolve, reject });
      void this.#run();
    });
  }

  async #run(): Promise<void> {
    if (this.#writing) return;
    this.#writing = true;
    // What comes in this turn of the event loop goes together.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      await this.#writeGroup(this.#takeGroup());
      this.#rejectLate();
    }
    this.#writing = false;
  }

  /** While etcd does not answer, all that waits would wait for each call before it to time out. */
  #rejectLate(): void {
    const latest = performance.now() - MAX_WAIT_MS;
    const inTime = this.#waiting.findIndex(({ since }) => since > latest);
    const late = this.#waiting.splice(0, inTime < 0 ? this.#waiting.length : inTime);
    for (const { reject } of late) {
      reject(new EtcdError('not_done', 'etcd does not answer in time'));
    }
  }

  async #writeGroup(group: readonly Waiting[]): Promise<void> {
    try {
      const { held } = await this.#store.write(
        distinct(group.flatMap(({ unit }) => unit.conditions)),
        group.flatMap(({ unit }) => unit.writes),
      );
      if (held || group.length === 1) {
        for (const { resolve } of group) resolve(held);
        return;
      }
    } catch (error) {
      const isOneOf = error instanceof EtcdError && error.failure === 'no_lease';
      if (!isOneOf || group.length === 1) {
        for (const { reject } of group) reject(error);
        return;
      }
    }
    // One of them does not hold, or lacks its lease, and which one is not said.
    const middle = Math.ceil(group.length / 2);
    await this.#writeGroup(group.slice(0, middle));
    await this.#writeGroup(group.slice(middle));
  }

  /** The longest run from the first on that fits into a transaction and has no key twice. */
  #takeGroup(): Waiting[] {
    const keys = new Set<string>();
    const conditions = new Set<string>();
    let bytes = 0;
    let count = 0;
    for (const { unit, bytes: size } of this.#waiting) {
      const fits = bytes + size <= MAX_BYTES && keys.size + unit.writes.length <= MAX_OPERATIONS;
      const more = unit.conditions.map(nameOf);
      const wholly = conditions.size + more.length <= MAX_OPERATIONS;
      const again = unit.writes.some((write) => keys.has(keyOf(write)));
      if (count > 0 && (!fits || !wholly || again)) break;
      for (const write of unit.writes) keys.add(keyOf(write));
      for (const name of more) conditions.add(name);
      bytes += size;
      count++;
    }
    return this.#waiting.splice(0, count);
  }
}

/** Whether a write may have been done though it failed. */
export function isUnknown(error: unknown): boolean {
  return !(error instanceof EtcdError) || error.failure === 'unknown';
}

function keyOf(write: Write): string {
  return 'put' in write ? write.put : write.delete;
}

function nameOf(condition: Condition): string {
  return `${condition.is} ${condition.key} ${condition.is === 'equal' ? condition.value : ''}`;
}

function distinct(conditions: readonly Condition[]): Condition[] {
  return [...new Map(conditions.map((each) => [nameOf(each), each])).values()];
}

function sizeOf({ conditions, writes }: Unit): number {
  let bytes = (conditions.length + writes.length) * OPERATION_BYTES;
  for (const condition of conditions) {
    if (condition.is === 'equal') bytes += Buffer.byteLength(condition.value);
  }
  for (const write of writes) if ('put' in write) bytes += Buffer.byteLength(write.value);
  return bytes;
}
