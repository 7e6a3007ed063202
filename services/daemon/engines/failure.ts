// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { Problem, type ProblemCode, retryLater } from '../problems/problem.ts';
import type { Completion } from './records.ts';

// Not by name: util.getSystemErrorName() does not know EBADMSG.
const { ECANCELED, EBADMSG, EIO, ENXIO, ENOSPC } = constants.errno;

/** What a transfer that failed can have for a code: what a job ends with, and the daemon's own. */
export const FAILURE_CODES = [
  'verify_mismatch',
  'media_error',
  'device_gone',
  'storage_full',
  'timeout',
  'internal_error',
] as const satisfies ProblemCode[];

/**
 * The problem that a job's status stands for; the statuses are those of struct
 * dma_shim_completion.
 *
 * @param device the name of the destination device, for the message
 */
export function jobProblem({ status, segment }: Completion, device: string): Problem {
  const where = `segment ${segment}, destination ${device}`;
  switch (-status) {
    case ECANCELED:
      return new Problem('cancelled', 'It was cancelled; what was already copied stays copied.');
    case EBADMSG:
      return new Problem(
        'verify_mismatch',
        `Source and destination differ after the copy (${where}): do not use the destination.`,
      );
    case EIO:
      return new Problem('media_error', `The medium reported an error (${where}).`);
    case ENXIO:
      return retryLater('device_gone', `A device, or that part of it, has gone (${where}).`, 30);
    case ENOSPC:
      return new Problem(
        'storage_full',
        `The file system that holds ${device} is full (segment ${segment}): free some space.`,
      );
    default:
      return new Problem(
        'internal_error',
        'The copy failed for a reason not foreseen; the log has it.',
      );
  }
}
