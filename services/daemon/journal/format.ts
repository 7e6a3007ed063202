// SPDX-License-Identifier: Apache-2.0

/**
 * The row that says who may use the journal: the oldest format that a reader must know, and the one
 * that its writer knew. See CONTRIBUTING.md, "The journal's format".
 */
export const FORMAT_KEY = 'format';
/** What this version writes and reads. Journals before `2 2` said `1`, or nothing. */
const CURRENT = 2;
export const FORMAT = `${CURRENT} ${CURRENT}`;

/** @returns why this version must not use a journal whose row `format` says that */
export function formatProblem(format: string | undefined): string | undefined {
  if (format === undefined || format === '1') return undefined;
  const [, reader] = /^(\d+) (\d+)$/.exec(format) ?? [];
  if (reader !== undefined && Number(reader) <= CURRENT) return undefined;
  return `is of format ${format}, and this version reads up to ${CURRENT}: use the version that wrote it`;
}
