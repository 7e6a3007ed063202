// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders } from 'node:http';

/** Of which trace a request is a part (W3C Trace Context). */
export interface TraceContext {
  /** Of version 00, as given. */
  traceparent: string;
  tracestate?: string;
}

const TRACEPARENT =
  /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
/** The version whose fields are known. */
const VERSION = '00';
const SAMPLED = 1;
/** A list member: a key, and a value of printable characters that ends with no space. */
const MEMBER = /^[a-z0-9][a-z0-9_\-*/@]{0,255}=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}(?<! )$/;
const MAX_MEMBERS = 32;
/** What every participant should pass on; and from which length on a member is left out first. */
const MAX_STATE = 512;
const LONG_MEMBER = 128;

/** @returns undefined if the request is not part of a trace, or that cannot be read (then it is ignored) */
export function readTraceContext(headers: IncomingHttpHeaders): TraceContext | undefined {
  if (headers.traceparent === undefined) return undefined;
  const traceparent = readParent(headers.traceparent);
  if (traceparent === undefined) return undefined;
  const tracestate = readState(headers.tracestate);
  return { traceparent, ...(tracestate !== undefined && { tracestate }) };
}

/** Of several headers Node makes one value, which is none. */
function readParent(header: string | string[] | undefined): string | undefined {
  const [, version, trace, parent, flags = '', more] = TRACEPARENT.exec(String(header)) ?? [];
  if (version === undefined) return undefined;
  if (version === VERSION) return more === undefined ? `00-${trace}-${parent}-${flags}` : undefined;
  // Of a later version only this much is known.
  const sampled = Number.parseInt(flags, 16) & SAMPLED;
  return `00-${trace}-${parent}-0${sampled}`;
}

function readState(header: string | string[] | undefined): string | undefined {
  const members = String(header ?? '')
    .split(',')
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ''))
    .filter((member) => member !== '');
  const keys = new Set(members.map((member) => member.split('=', 1)[0]));
  const valid = members.every((member) => MEMBER.test(member)) && keys.size === members.length;
  if (!valid || members.length === 0 || members.length > MAX_MEMBERS) return undefined;
  const fits = (kept: readonly string[]) => kept.join(',').length <= MAX_STATE;
  if (fits(members)) return members.join(',');
  const kept = members.filter((member) => member.length <= LONG_MEMBER);
  while (!fits(kept)) kept.pop();
  return kept.length === 0 ? undefined : kept.join(',');
}
