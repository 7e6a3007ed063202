// SPDX-License-Identifier: Apache-2.0

/**
 * The row that says who may use the journal: the oldest format that a reader must know, and the one
 * that its writer knew. See CONTRIBUTING.md, "The journal's format".
 */
export const FORMAT_KEY = 'format';
/** The oldest format that a reader must know. Journals before `2 2` said `1`, or nothing. */
const OLDEST_READER = 2;
/** What this version writes, and the latest that it reads. */
const CURRENT = 3;
export const FORMAT = `${OLDEST_READER} ${CURRENT}`;
/**
 * From this one on, writers know changes and dependencies. One before it calls an unfinished
 * transfer that has such rows interrupted, and does not write that down.
 */
export const KNOWS_CHANGES = 3;

/** @returns why this version must not use a journal whose row `format` says that */
export function formatProblem(format: string | undefined): string | undefined {
  if (format === undefined || format === '1') return undefined;
  const [, reader] = /^(\d+) (\d+)$/.exec(format) ?? [];
  if (reader !== undefined && Number(reader) <= CURRENT) return undefined;
  return `is of format ${format}, and this version reads up to ${CURRENT}: use the version that wrote it`;
}

/** @returns what the last one that wrote to the journal knew; one just made: what this version knows */
export function writerOf(format: string | undefined): number {
  if (format === undefined) return CURRENT;
  return Number(/\d+$/.exec(format)?.[0] ?? 1);
}
