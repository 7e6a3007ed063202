// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';
import { readJson } from '../../base/read-json.ts';
import type { Rows } from './store.ts';

/** The row that says which rows of the last batch with acceptances count only once it is committed. */
export const BATCH_KEY = 'batch';

const schema = z.object({ number: z.int().min(0), keys: z.array(z.string()) });

export type BatchRow = z.output<typeof schema>;

export function batchRow(number: number, acceptances: readonly { rows: Rows }[]): string {
  const keys = acceptances.flatMap(({ rows }) => [...rows.keys()]);
  return JSON.stringify({ number, keys } satisfies BatchRow);
}

/** What the rows of a journal say of its last batch with acceptances. */
export interface LastBatch {
  number: number;
  /** Keys of rows that do not count, for their batch was never committed: see journal.ts. */
  uncommitted: ReadonlySet<string>;
  /** Why that cannot be known. */
  spoilt: string | undefined;
}

/** @param committed what the watermark says, if it can be read */
export function readBatch(
  rows: Iterable<readonly [key: string, value: string]>,
  committed: number | undefined,
): LastBatch {
  const [, text] = Array.from(rows).find(([key]) => key === BATCH_KEY) ?? [];
  const row = text === undefined ? { number: 0, keys: [] } : readJson(schema, text);
  const known = committed ?? (row?.number === 0 ? 0 : undefined);
  if (row === undefined || known === undefined) {
    const spoilt = 'journal.committed, or the row that belongs to it, is missing or spoilt';
    return { number: row?.number ?? 0, uncommitted: new Set(), spoilt };
  }
  const uncommitted = new Set(row.number > known ? row.keys : []);
  return { number: row.number, uncommitted, spoilt: undefined };
}
