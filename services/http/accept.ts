// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';
import Negotiator from 'negotiator';

/**
 * The media type that a request's `Accept` prefers, of those that an answer can have.
 *
 * @param types with their parameters, the server's first choice first
 * @returns undefined if it accepts none of them
 */
export function preferredType(
  { headers }: Pick<IncomingMessage, 'headers'>,
  types: readonly string[],
): string | undefined {
  // A client that says nothing accepts anything (RFC 9110, 12.5.1).
  if (!headers.accept) return types[0];
  return new Negotiator({ headers }).mediaType([...types]);
}
