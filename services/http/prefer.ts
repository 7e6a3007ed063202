// SPDX-License-Identifier: Apache-2.0
import { z } from 'zod';

const MAX_WAIT_SECONDS = 60;
/** One element of the list: a comma in a quoted string separates nothing (RFC 9110, 5.6.4). */
const ELEMENT = /(?:[^",]|"(?:[^"\\]|\\.)*"?)+/g;
/** One preference of RFC 7240 without its parameters: a name, and perhaps a value. */
const PREFERENCE = /^([!#$%&'*+.^_`|~\w-]+)(?:\s*=\s*(?:"([^"]*)"|([^\s"]*)))?$/;

/** What a client prefers (RFC 7240), as far as it was understood. */
export interface Preference {
  /** How long to wait for the end of a transfer, in milliseconds. */
  waitMs: number;
  /** Whether a success is to be answered without a body. */
  minimal: boolean;
  /** For the Preference-Applied header, `return` apart; undefined if nothing was asked for. */
  applied: string | undefined;
}

/**
 * Reads the Prefer header. What cannot be read is ignored, as the RFC has it; of a preference that
 * is given twice the first counts. `respond-async` with `wait` waits that long, then answers 202.
 *
 * @param header the header's value; several headers come joined by commas
 * @param defaultWaitMs what applies when the client says nothing
 */
export function readPrefer(header: string | undefined, defaultWaitMs: number): Preference {
  if (header === undefined) return { minimal: false, waitMs: defaultWaitMs, applied: undefined };
  let wait: number | undefined;
  let respondAsync = false;
  let representation: string | undefined;
  for (const [part] of header.matchAll(ELEMENT)) {
    const [preference = ''] = part.split(';', 1);
    const [, name, quoted, token] = PREFERENCE.exec(preference.trim()) ?? [];
    // An empty value is none (RFC 7240, 2).
    const value = quoted || token || undefined;
    if (name?.toLowerCase() === 'respond-async' && value === undefined) respondAsync = true;
    if (name?.toLowerCase() === 'return') representation ??= value;
    if (name?.toLowerCase() === 'wait' && wait === undefined && /^[0-9]+$/.test(value ?? '')) {
      wait = Math.min(Number(value), MAX_WAIT_SECONDS);
    }
  }
  const applied = [
    ...(respondAsync ? ['respond-async'] : []),
    ...(wait === undefined ? [] : [`wait=${wait}`]),
  ];
  return {
    minimal: representation === 'minimal',
    waitMs: wait === undefined ? (respondAsync ? 0 : defaultWaitMs) : wait * 1000,
    applied: applied.length > 0 ? applied.join(', ') : undefined,
  };
}

/** The Prefer header in a route's schema. @param creates the request that `return=minimal` is for */
export function preferHeader(creates: string) {
  return z
    .string()
    .optional()
    .meta({
      description:
        '`wait=N` waits up to N seconds (0 to 60) for the end; `respond-async` does not wait. ' +
        `\`return=minimal\`: a success of ${creates} is answered without a body.`,
    });
}
