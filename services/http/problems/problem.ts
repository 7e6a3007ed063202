// SPDX-License-Identifier: Apache-2.0
import type { DmaError } from '../../base/vocabulary.ts';

/**
 * Every error this service can answer with: its stable code, its HTTP status and its title.
 * Statuses follow RFC 9110 and the HTTP contract. A new error is a line here and one in explanations.ts; its
 * detail is written where it is thrown.
 */
export const PROBLEMS = {
  invalid_request: { status: 400, title: 'Invalid request' },
  unauthenticated: { status: 401, title: 'Missing or invalid token' },
  forbidden: { status: 403, title: 'Access denied' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'Method not allowed' },
  not_acceptable: { status: 406, title: 'No acceptable media type' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  not_cancellable: { status: 409, title: 'The transfer has already finished' },
  host_in_use: { status: 409, title: 'The host has transfers that have not ended' },
  not_changeable: { status: 409, title: 'The transfer has finished, or runs already' },
  cancelled: { status: 409, title: 'The transfer was cancelled' },
  source_incomplete: { status: 409, title: 'An upload into the source was cut short' },
  precondition_failed: { status: 412, title: 'Precondition failed' },
  payload_too_large: { status: 413, title: 'The body is too large' },
  unsupported_media_type: { status: 415, title: 'Unsupported media type' },
  range_not_satisfiable: { status: 416, title: 'The range lies outside the device' },
  expectation_failed: { status: 417, title: 'Expectation failed' },
  misdirected_request: { status: 421, title: 'The Host header names another host' },
  unknown_device: { status: 422, title: 'No managed device has that name' },
  out_of_range: { status: 422, title: 'The range lies outside the device' },
  overlapping_ranges: { status: 422, title: 'Source and destination overlap' },
  digest_mismatch: { status: 422, title: 'The bytes do not match their digest' },
  bad_block: { status: 422, title: 'The range touches a known bad block' },
  engine_unavailable: { status: 422, title: 'The engine is not available' },
  unknown_peer: { status: 422, title: 'No peer with that name is configured' },
  unknown_transfer: { status: 422, title: 'No transfer of this client has that id' },
  idempotency_key_reused: {
    status: 422,
    title: 'The Idempotency-Key was used with another request',
  },
  unknown_host: { status: 422, title: 'No host of this fleet has that name' },
  dependency_failed: { status: 424, title: 'A transfer that it depends on did not succeed' },
  too_many_refusals: { status: 429, title: 'Too many invalid requests' },
  queue_full: { status: 429, title: 'The queue is full' },
  headers_too_large: { status: 431, title: 'The request header is too large' },
  internal_error: { status: 500, title: 'Internal error' },
  unsupported_transfer_coding: { status: 501, title: 'Unsupported Transfer-Encoding' },
  dma_error: { status: 502, title: 'A DMA channel could not copy' },
  verify_mismatch: { status: 502, title: 'Source and destination differ after the copy' },
  media_error: { status: 502, title: 'The medium could not be read or written' },
  peer_unreachable: { status: 502, title: 'The peer cannot be reached' },
  peer_refused: { status: 502, title: 'The peer refused' },
  source_changing: { status: 502, title: 'The source keeps changing' },
  device_gone: { status: 503, title: 'The device is gone' },
  interrupted: { status: 503, title: 'The daemon stopped before the transfer finished' },
  overloaded: { status: 503, title: 'The daemon is overloaded' },
  journal_unavailable: { status: 503, title: 'The journal cannot be written' },
  shutting_down: { status: 503, title: 'The daemon is shutting down' },
  host_unreachable: { status: 503, title: 'The host cannot be reached' },
  etcd_unavailable: { status: 503, title: 'No write to etcd is possible' },
  timeout: { status: 504, title: 'The transfer did not finish within its timeout' },
  expired: { status: 504, title: 'The transfer could not be handed to its host in time' },
  storage_full: { status: 507, title: 'No space left on the storage' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

/** One thing that is wrong in a request. `pointer` is a JSON pointer (RFC 6901). */
export interface FieldError {
  pointer: string;
  detail: string;
}

/** Problem details (RFC 9457) as they go over the wire. */
export interface ProblemDetails {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance: string;
  code: ProblemCode;
  errors?: FieldError[];
  dma?: DmaFailure;
}

/** Of a copy by the DMA engine. */
export interface DmaFailure {
  error: DmaError;
  /** The channel that failed, where it was one. */
  channel: string | null;
  /** How often a part of the copy was thrown out with another's fault, and tried again. */
  retries: number;
}

export interface ProblemOptions {
  errors?: FieldError[];
  /** Header fields that belong to this error, such as Retry-After. */
  headers?: Record<string, string>;
  dma?: DmaFailure;
  /** In place of the code's own, where the same thing is wrong with another side's bytes. */
  status?: number;
  /** Further members of the body, such as the transfer that failed. */
  members?: Record<string, unknown>;
}

/** An error with an answer. Whatever else is thrown is answered as `internal_error`. */
export class Problem extends Error {
  override readonly name = 'Problem';
  readonly code: ProblemCode;
  readonly options: ProblemOptions;

  /** @param detail one sentence for a person: what is wrong, and what to do about it */
  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(detail);
    this.code = code;
    this.options = options;
  }

  get status(): number {
    return this.options.status ?? PROBLEMS[this.code].status;
  }
}

/**
 * It cannot be known whether the request was carried out, so that any answer might be wrong: the
 * connection is closed without one.
 */
export class OutcomeUnknown extends Error {
  override readonly name = 'OutcomeUnknown';
}

/** The same problem with further members of its body. */
export function withMembers(
  { code, message, options }: Problem,
  members: Record<string, unknown>,
): Problem {
  return new Problem(code, message, { ...options, members: { ...options.members, ...members } });
}

/** A problem about one field of the request. */
export function fieldProblem(code: ProblemCode, pointer: string, detail: string): Problem {
  return new Problem(code, detail, { errors: [{ pointer, detail }] });
}

/** A problem that may be over soon. @param seconds after which to try again */
export function retryLater(code: ProblemCode, detail: string, seconds = 1): Problem {
  return new Problem(code, detail, { headers: { 'retry-after': String(seconds) } });
}

/** Where a kind of problem is explained: see problems/routes.ts. */
export function problemType(code: ProblemCode): string {
  return `/problems/${code}`;
}

/** @param requestId the id of the request that met the problem (its `x-request-id`) */
export function problemDetails(problem: Problem, requestId: string): ProblemDetails {
  const { title } = PROBLEMS[problem.code];
  return {
    type: problemType(problem.code),
    title,
    status: problem.status,
    detail: problem.message,
    instance: `urn:dmad:request:${requestId}`,
    code: problem.code,
    ...(problem.options.errors && { errors: problem.options.errors }),
    ...(problem.options.dma && { dma: problem.options.dma }),
  };
}
