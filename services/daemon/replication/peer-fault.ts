// SPDX-License-Identifier: Apache-2.0
import { DmadError } from '../../client/error.ts';
import { Problem } from '../../http/problems/problem.ts';

/** The longest Retry-After of a peer that is followed, in milliseconds. */
const MAX_RETRY_AFTER_MS = 60_000;
/** How much of a peer's error message is kept, in characters. */
const MAX_WHY = 500;

/** It may answer later. */
export class PeerAway extends Error {
  override readonly name = 'PeerAway';
}

/** Why a peer did not send what was requested. */
export type Fault =
  | { is: 'away'; why: string; retryAfterMs: number }
  /** It answered, and would answer another attempt the same. */
  | { is: 'refused'; why: string }
  /** It could not prove its identity, or does not accept this daemon's. */
  | { is: 'untrusted'; why: string };

/** Statuses of a peer, or of a proxy before it, that are temporary. */
const PASSING = [408, 429, 500, 502, 503, 504];
/** Error codes of OpenSSL and Node about certificates. */
const UNTRUSTED = /CERT|UNABLE_TO_|SELF_SIGNED/;
/** Error codes about TLS itself: incompatible settings, or a connection that was cut in its handshake. */
const TLS = /^ERR_TLS_|^ERR_SSL_|^EPROTO$/;

export function away(error: Error, retryAfterMs = 0): Fault {
  return { is: 'away', why: error.message.slice(0, MAX_WHY), retryAfterMs };
}

/** @param known whether the peer has answered this daemon before, so that their TLS settings agree */
export function faultOf(error: unknown, known: boolean): Fault {
  if (error instanceof PeerAway) return away(error);
  // A bug in this daemon: a retry would hide it.
  if (!(error instanceof DmadError)) throw error;
  const { code, status, message, retryAfterMs = 0 } = error;
  if (code === 'unreachable' || code === 'deadline_exceeded') {
    const codes = codesOf(error);
    const tls = codes.find((each) => UNTRUSTED.test(each) || (!known && TLS.test(each)));
    return tls === undefined
      ? away(error)
      : { is: 'untrusted', why: `${message.slice(0, MAX_WHY)} (${tls})` };
  }
  // Bad memory stays bad, whatever the status says.
  if (PASSING.includes(status) && code !== 'media_error') {
    return away(error, Math.min(retryAfterMs, MAX_RETRY_AFTER_MS));
  }
  const answered = status === 0 ? '' : `${status} `;
  return { is: 'refused', why: `${answered}${code}: ${message}`.slice(0, MAX_WHY) };
}

function codesOf(error: Error): string[] {
  const codes: string[] = [];
  for (let one: unknown = error; typeof one === 'object' && one !== null; ) {
    const { code, cause } = one as NodeJS.ErrnoException;
    if (typeof code === 'string') codes.push(code);
    one = cause;
  }
  return codes;
}

export function lie(message: string): DmadError {
  return new DmadError({ code: 'unexpected_answer', message });
}

export function itself(name: string): Problem {
  const detail = `The peer ${name} is this daemon itself: correct its url in DMAD_PEERS_FILE, or copy between its own devices by POST /transfers.`;
  return new Problem('peer_refused', detail);
}

/** What this daemon answers if it is its own peer. */
export function askedByItself(): Problem {
  const detail =
    'The request comes from this daemon itself: correct the url of its peer in DMAD_PEERS_FILE.';
  return new Problem('forbidden', detail);
}

export function untrusted(name: string, why: string): Problem {
  const detail = `No trusted connection to the peer ${name}: ${why}. Check ca, cert and key in DMAD_PEERS_FILE.`;
  return new Problem('peer_unreachable', detail);
}
