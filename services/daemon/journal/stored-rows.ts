// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { ClassicLevel } from 'classic-level';

export type Row = [key: string, value: string];

interface Harm {
  damage: string | undefined;
  torn: boolean;
}

/** Rows that are read at a time: that takes a millisecond or two of the event loop. */
const SLICE = 500;
const KEYS_SLICE = 5000;
/** How often to look whether a store that is being opened anew can be read again, in milliseconds. */
const RETRY_MS = 200;

/**
 * The rows that a store had when it was opened. Their keys are at hand; their values are read when
 * they are asked for, for a history is large and few of it are needed at once.
 */
export class StoredRows {
  /** In order; until {@link forgetKeys}. */
  #keys: readonly string[];
  readonly #end: string | undefined;
  readonly #database: ClassicLevel;
  readonly #hidden: ReadonlySet<string>;
  readonly #harm: Harm;

  private constructor(
    database: ClassicLevel,
    keys: readonly string[],
    hidden: ReadonlySet<string>,
    harm: Harm,
  ) {
    this.#database = database;
    this.#keys = keys;
    this.#end = keys.at(-1);
    this.#hidden = hidden;
    this.#harm = harm;
  }

  /** @param damage what was found wrong while the store was opened @param torn whether only a log's end */
  static async of(
    database: ClassicLevel,
    damage: string | undefined,
    torn = false,
  ): Promise<StoredRows> {
    const keys: string[] = [];
    const iterator = database.keys();
    try {
      for (;;) {
        const slice = await iterator.nextv(KEYS_SLICE);
        if (slice.length === 0) break;
        keys.push(...slice);
      }
    } finally {
      await iterator.close();
    }
    return new StoredRows(database, keys, new Set(), { damage, torn });
  }

  get keys(): readonly string[] {
    return this.#keys;
  }

  /** They are not needed any more, and are many. */
  forgetKeys(): void {
    this.#keys = [];
  }

  /** What has been found wrong so far, if rows may be lost. All is known once all have been read. */
  get damage(): string | undefined {
    return this.#harm.damage;
  }

  /** Whether only the end of a log is missing, which is what a crash does to what was being written. */
  get torn(): boolean {
    return this.#harm.torn;
  }

  /** It is known that nothing is missing that was synced. */
  excuseTorn(): void {
    if (this.#harm.torn) this.#harm.damage = undefined;
    this.#harm.torn = false;
  }

  /** The same without some of them. */
  without(hidden: ReadonlySet<string>): StoredRows {
    if (hidden.size === 0) return this;
    const keys = this.keys.filter((key) => !hidden.has(key));
    return new StoredRows(this.#database, keys, hidden, this.#harm);
  }

  /** @returns those of the rows that are there and intact, in the order of `keys` */
  async get(keys: readonly string[]): Promise<Row[]> {
    const wanted = keys.filter((key) => !this.#hidden.has(key));
    const texts = await this.#database.getMany(wanted);
    return this.#intact(wanted.map((key, i): [string, string | undefined] => [key, texts[i]]));
  }

  /** All rows in the order of their keys, some at a time. @param signal ends it early */
  async *slices(signal?: AbortSignal): AsyncGenerator<Row[]> {
    const end = this.#end;
    let last = '';
    while (end !== undefined && last < end && !signal?.aborted) {
      let slice: [string, string][];
      try {
        slice = await this.#database.iterator({ gt: last, lte: end, limit: SLICE }).all();
      } catch (error) {
        // A journal that could not be written is opened anew, sooner or later.
        if (this.#database.status === 'open') throw error;
        await sleep(RETRY_MS);
        continue;
      }
      last = slice.at(-1)?.[0] ?? end;
      yield this.#intact(slice);
    }
  }

  #intact(sealed: [key: string, text: string | undefined][]): Row[] {
    const rows: Row[] = [];
    for (const [key, text] of sealed) {
      if (text === undefined || this.#hidden.has(key)) continue;
      const value = unseal(key, text);
      if (value !== undefined) rows.push([key, value]);
      else this.#spoilt(key);
    }
    return rows;
  }

  #spoilt(key: string): void {
    this.#harm.torn = false;
    this.#harm.damage ??= `the row ${JSON.stringify(key)} is not as it was written`;
  }
}

/** LevelDB does not check its tables' checksums when it reads them; so each row has its own. */
export function seal(key: string, value: string): string {
  return checksum(key, value) + value;
}

function unseal(key: string, text: string): string | undefined {
  const value = text.slice(8);
  return text.slice(0, 8) === checksum(key, value) ? value : undefined;
}

function checksum(key: string, value: string): string {
  return crc32(value, crc32(key)).toString(16).padStart(8, '0');
}
