// SPDX-License-Identifier: Apache-2.0
import { DmadError } from '../../client/node.ts';
import { PROBLEMS, Problem, type ProblemCode } from '../../daemon/problems/problem.ts';

/**
 * Statuses by which a host says that a request cannot be meant. All others may pass, but for a device
 * that is gone: waiting for it would hold up all that follows.
 */
const REFUSALS = [400, 413, 422];

/** Whether a host refused a transfer for good. */
export function isRefusal(error: unknown): error is DmadError {
  return (
    error instanceof DmadError &&
    error.transfer === undefined &&
    (REFUSALS.includes(error.status) || error.code === 'device_gone') &&
    Object.hasOwn(PROBLEMS, error.code)
  );
}

/** The problem by which a host refused a transfer. */
export function refusalOf({ code, message, errors }: DmadError): Problem {
  return new Problem(code as ProblemCode, message, errors.length > 0 ? { errors } : {});
}

export function describeRefusal(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Failures to connect: no byte of a request was sent. */
const CONNECTING = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'];

/** Whether it is certain that nothing of a request reached its host. */
export function neverArrived(error: unknown): boolean {
  for (let inner = error; inner instanceof Error; inner = inner.cause) {
    if (CONNECTING.includes((inner as NodeJS.ErrnoException).code ?? '')) return true;
  }
  return false;
}
