// SPDX-License-Identifier: Apache-2.0
import type { ConnectedClient } from '../../client/node.ts';
import { CliError } from './exit-codes.ts';

/** What "top" shows of an id on a narrow terminal: its last digits, which are random. */
const SHORT_LENGTH = 12;
const SHORT = new RegExp(`^[0-9a-f]{${SHORT_LENGTH}}$`);
const PAGE_SIZE = 1000;
/** Among how many of the newest transfers a short id is looked for. */
const MOST = 10_000;

export const ID_ARGUMENT = 'the id of a transfer, or its last 12 digits, as "top" shows them';

export function shortId(id: string): string {
  return id.slice(-SHORT_LENGTH);
}

/** @returns the whole id. @throws CliError `not_found` if no transfer has such a short one */
export async function wholeId(
  client: ConnectedClient,
  text: string,
  signal: AbortSignal,
): Promise<string> {
  if (!SHORT.test(text)) return text;
  let seen = 0;
  const query = { view: 'basic', page_size: String(PAGE_SIZE) } as const;
  for await (const { id } of client.allTransfers(query, { signal })) {
    if (shortId(id) === text) return id;
    if (++seen === MOST) break;
  }
  throw new CliError('not_found', `no transfer has an id that ends with ${text}: give all of it`);
}
