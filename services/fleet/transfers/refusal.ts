// SPDX-License-Identifier: Apache-2.0
import { DmadError } from '../../client/node.ts';
import { PROBLEMS, Problem, type ProblemCode } from '../../http/problems/problem.ts';
import { transferOf } from '../hosts/replication-report.ts';
import type { HostReport } from './schema.ts';

/**
 * Whether a host refused this one transfer for good. Every other answer may pass, or is the same for
 * all transfers: they wait, so that their order is kept. A proxy's answer says nothing of a transfer,
 * but for a body that is too large for it.
 */
export function isRefusal(error: unknown): error is DmadError {
  if (!(error instanceof DmadError) || endedOf(error) !== undefined) return false;
  const { status, code, errors } = error;
  if (status === 413) return true;
  if (code === 'unexpected_answer') return false;
  // Waiting for a device that is gone would hold up all that follows. If the fleet's token lacks a
  // scope, all is forbidden, and no field is named.
  const forbidden = code === 'forbidden' && errors.length > 0;
  return status === 400 || status === 422 || code === 'device_gone' || forbidden;
}

/** The transfer or replication that a host's problem is about; undefined if there is none. */
export function endedOf({ transfer, replication }: DmadError): HostReport | undefined {
  if (replication !== undefined) return transferOf(replication);
  return transfer as HostReport | undefined;
}

/** The problem by which a host refused a transfer. */
export function refusalOf({ code, status, message, errors }: DmadError): Problem {
  return new Problem(
    isKnown(code) ? code : status === 413 ? 'payload_too_large' : 'invalid_request',
    message,
    errors.length > 0 ? { errors } : {},
  );
}

/** A host may be of a later version. */
function isKnown(code: string): code is ProblemCode {
  return Object.hasOwn(PROBLEMS, code);
}

export function describeRefusal(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Failures to connect: no byte of a request was sent. */
const CONNECTING = [
  ...['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'],
  'UND_ERR_CONNECT_TIMEOUT',
];
/** What fetch says of a port that it connects to for nobody. */
const BAD_PORT = 'bad port';

/** Whether it is certain that nothing of a request reached its host. */
export function neverArrived(error: unknown): boolean {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if (CONNECTING.includes((inner as NodeJS.ErrnoException).code ?? '')) return true;
    if (inner.message === BAD_PORT) return true;
  }
  return false;
}
