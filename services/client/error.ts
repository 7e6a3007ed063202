// SPDX-License-Identifier: Apache-2.0
import type { Problem, ProblemCode, Replication, Transfer } from './types.ts';

/**
 * What went wrong before the daemon answered: `unreachable`, the connection failed or was lost;
 * `deadline_exceeded`, the call's deadline passed; `unexpected_answer`, what answered is not dmad.
 */
export type ClientCode = 'unreachable' | 'deadline_exceeded' | 'unexpected_answer';

export interface ErrorParts {
  code: ProblemCode | ClientCode;
  message: string;
  /** HTTP status; 0 if nothing answered. */
  status?: number;
  errors?: Problem['errors'];
  transfer?: Transfer | undefined;
  replication?: Replication | undefined;
  /** Of an upload: how many bytes of the body are written. */
  bytesWritten?: number | undefined;
  requestId?: string | undefined;
  /** When the daemon asked for a retry, in milliseconds from its answer. */
  retryAfterMs?: number | undefined;
  cause?: unknown;
}

/** How a call fails, unless its own AbortSignal ended it. */
export class DmadError extends Error {
  override readonly name = 'DmadError';
  /** Stable, as in the problem's `code`. A later daemon may have codes that are not listed. */
  readonly code: ProblemCode | ClientCode;
  readonly status: number;
  /** The fields that are wrong. */
  readonly errors: NonNullable<Problem['errors']>;
  /** The transfer that failed, if it was one. */
  readonly transfer: Transfer | undefined;
  /** The replication that failed, if it was one. */
  readonly replication: Replication | undefined;
  readonly bytesWritten: number | undefined;
  /** The request's id in the daemon's log. */
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(parts: ErrorParts) {
    super(parts.message, { cause: parts.cause });
    this.code = parts.code;
    this.status = parts.status ?? 0;
    this.errors = parts.errors ?? [];
    this.transfer = parts.transfer;
    this.replication = parts.replication;
    this.bytesWritten = parts.bytesWritten;
    this.requestId = parts.requestId;
    this.retryAfterMs = parts.retryAfterMs;
  }
}

/** @param cause what fetch, or reading its answer, threw */
export function unreachable(url: string, cause: unknown): DmadError {
  const reason = innermost(cause);
  return new DmadError({ code: 'unreachable', message: `${url}: ${reason}`, cause });
}

/** What a transfer that ended otherwise than as succeeded ended with. */
export function transferError(transfer: Transfer): DmadError {
  const { error, status } = transfer;
  return new DmadError({
    code: error?.code ?? 'internal_error',
    status: error?.status ?? 0,
    message: error?.detail ?? `The transfer is ${status}.`,
    transfer,
  });
}

/** The same of a replication. */
export function replicationError(replication: Replication): DmadError {
  const { error, status } = replication;
  return new DmadError({
    code: error?.code ?? 'internal_error',
    status: error?.status ?? 0,
    message: error?.detail ?? `The replication is ${status}.`,
    replication,
  });
}

/** The problem of an answer that is none of the expected ones. */
export function problemIn(
  url: string,
  { status, headers }: { status: number; headers: Pick<Headers, 'get'> },
  text: string,
): DmadError {
  const requestId = headers.get('x-request-id') ?? undefined;
  const retryAfterMs = readRetryAfter(headers.get('retry-after'));
  const problem = headers.get('content-type')?.startsWith('application/problem+json')
    ? parseProblem(text)
    : undefined;
  if (problem === undefined) {
    const message = `${url} answered ${status} without a problem of dmad's: ${text.slice(0, 200)}`;
    return new DmadError({ code: 'unexpected_answer', status, message, requestId, retryAfterMs });
  }
  const { code, detail, errors = [], transfer, replication } = problem;
  const { bytes_written: bytesWritten } = problem;
  return new DmadError({
    ...{ code, status, message: detail, errors, transfer, replication, bytesWritten },
    ...{ requestId, retryAfterMs },
  });
}

/** The form of all codes; a later daemon may have ones that are not known yet. */
const CODE = /^[a-z_]{1,64}$/;

/** What of an error is read at most, in bytes: the largest of dmad's has a transfer of 4096 segments. */
export const MAX_PROBLEM_SIZE = 2 ** 20;

function parseProblem(text: string) {
  try {
    const problem = JSON.parse(text);
    // What answers need not be dmad: it may send any text, of any length.
    if (
      typeof problem?.code === 'string' &&
      CODE.test(problem.code) &&
      typeof problem.detail === 'string'
    ) {
      return problem as Problem & {
        transfer?: Transfer;
        replication?: Replication;
        bytes_written?: number;
      };
    }
  } catch {}
  return undefined;
}

function readRetryAfter(header: string | null): number | undefined {
  return header !== null && /^[0-9]{1,6}$/.test(header) ? Number(header) * 1000 : undefined;
}

/** fetch says no more than "fetch failed"; why is in its cause. */
function innermost(error: unknown): string {
  let inner = error as Partial<Error & { code: string }> | undefined;
  while (typeof inner?.cause === 'object' && inner.cause !== null) inner = inner.cause;
  // An error for several addresses has no message of its own.
  return inner?.message || inner?.code || String(inner);
}
