// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import { StartError } from '../../base/start-error.ts';
import { damageOfLog, TORN } from './log-file.ts';
import { StoredRows, seal } from './stored-rows.ts';

/** Rows to write, by key; undefined takes a row away. */
export type Rows = ReadonlyMap<string, string | undefined>;

/** Rows on disk. */
export interface Store {
  /** Writes all rows or none. @param sync whether they outlive a power failure once it resolves */
  write(rows: Rows, sync: boolean): Promise<void>;
  /** Makes it usable again after a write that failed. */
  reopen(): Promise<void>;
  /** Bytes on disk. */
  size(): Promise<number>;
  close(): Promise<void>;
}

export interface OpenedStore {
  store: Store;
  rows: StoredRows;
}

/** What LevelDB writes into its log of events when it passes over a part of its journal. */
const DROPPED = /dropping \d+ bytes; .*/;
const HEADLESS = 'its file CURRENT is missing';

/**
 * Opens the LevelDB store in a directory, with all that is intact in it.
 *
 * @param beforeRepair is called where something is wrong, before that is mended in place: whoever
 *   opens it next would not see it any more
 * @throws StartError where it cannot be opened; it never begins anew in the place of a broken one
 */
export async function openStore(
  directory: string,
  beforeRepair: () => Promise<void>,
): Promise<OpenedStore> {
  let damage: string | undefined;
  try {
    damage = damageIn(directory);
    if (damage !== undefined) await beforeRepair();
    if (damage === HEADLESS) await ClassicLevel.repair(directory);
    return await read(directory, damage);
  } catch (error) {
    if (!isDamage(error)) throw cannotOpen(directory, error);
    damage ??= causeOf(error);
  }
  try {
    await beforeRepair();
    await ClassicLevel.repair(directory);
    return await read(directory, damage);
  } catch (error) {
    throw cannotOpen(directory, error);
  }
}

/** What is wrong that LevelDB would not tell. */
function damageIn(directory: string): string | undefined {
  if (!existsSync(directory)) return undefined;
  const names = readdirSync(directory);
  // It takes a directory without CURRENT for a new one, whatever else is there.
  const used = names.some((name) => /\.(?:ldb|sst|log)$/.test(name));
  if (used && !names.includes('CURRENT')) return HEADLESS;
  for (const name of names.filter((each) => each.endsWith('.log'))) {
    const damage = damageOfLog(join(directory, name));
    if (damage !== undefined) return `${name} ${damage}`;
  }
  return undefined;
}

async function read(directory: string, damage: string | undefined): Promise<OpenedStore> {
  const database = new ClassicLevel(directory);
  await database.open();
  try {
    const dropped = DROPPED.exec(readFileSync(join(directory, 'LOG'), 'latin1'))?.[0];
    const torn = damage?.endsWith(TORN) === true && dropped === undefined;
    const rows = await StoredRows.of(database, damage ?? dropped, torn);
    return { store: new LevelStore(database, directory), rows };
  } catch (error) {
    await database.close();
    throw error;
  }
}

class LevelStore implements Store {
  readonly #database: ClassicLevel;
  readonly #directory: string;

  constructor(database: ClassicLevel, directory: string) {
    this.#database = database;
    this.#directory = directory;
  }

  async write(rows: Rows, sync: boolean): Promise<void> {
    const operations = Array.from(rows, ([key, value]) =>
      value === undefined
        ? { type: 'del' as const, key }
        : { type: 'put' as const, key, value: seal(key, value) },
    );
    await this.#database.batch(operations, { sync });
  }

  /** LevelDB goes on behind a torn record, where it would not find again what it wrote. */
  async reopen(): Promise<void> {
    await this.#database.close();
    await this.#database.open();
  }

  async size(): Promise<number> {
    const names = await readdir(this.#directory);
    const sizes = names.map((name) =>
      // Compaction removes files at any time.
      stat(join(this.#directory, name)).then(
        (file) => file.size,
        () => 0,
      ),
    );
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

/** Whether LevelDB found that files are missing, or not as it wrote them. */
function isDamage(error: unknown): boolean {
  const { code, cause } = error as { code?: string; cause?: { code?: string } };
  const corrupt = code === 'LEVEL_CORRUPTION' || cause?.code === 'LEVEL_CORRUPTION';
  return corrupt || /No such file/.test(causeOf(error));
}

/** What LevelDB says is wrong: abstract-level tells only that opening failed. */
export function causeOf(error: unknown): string {
  const { message, cause } = error as Error & { cause?: Error };
  return cause?.message ?? message;
}

function cannotOpen(directory: string, error: unknown): StartError {
  const cause = causeOf(error);
  const remedy = /No space left/.test(cause)
    ? 'free some space, and start again'
    : 'make it readable and its disk writable, or, to begin without it, move it away: transfers ' +
      'and keys in it are then forgotten';
  return new StartError('failure', `cannot open the journal ${directory}: ${cause}; ${remedy}`);
}
