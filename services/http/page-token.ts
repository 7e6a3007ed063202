// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { fieldProblem } from './problems/problem.ts';

/**
 * The token of a list's next page: the last id of this page, with the filters that it was made with,
 * for it is good only for those (AIP-158).
 */
export function makePageToken(id: string, filters: readonly unknown[]): string {
  return Buffer.from(`${digestOf(filters)}.${id}`).toString('base64url');
}

/**
 * @param token as the client sent it; absent or empty for the first page
 * @returns the id behind which the page begins; undefined for the first page
 * @throws Problem invalid_request if it was not made by {@link makePageToken} with these filters
 */
export function readPageToken(
  token: string | undefined,
  filters: readonly unknown[],
): string | undefined {
  if (!token) return undefined;
  const text = Buffer.from(token, 'base64url').toString('latin1');
  const [, id] = /^[\w-]{12}\.([0-9a-f-]{36})$/.exec(text) ?? [];
  if (id !== undefined && makePageToken(id, filters) === token) return id;
  const detail =
    'The query is not valid: page_token is not the next_page_token of a page with the same filters: begin without it.';
  throw fieldProblem('invalid_request', '/page_token', detail);
}

function digestOf(filters: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(filters)).digest('base64url').slice(0, 12);
}
