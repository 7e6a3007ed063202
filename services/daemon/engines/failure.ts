// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import type { DmaError } from '../../base/vocabulary.ts';
import { Problem, type ProblemCode, retryLater } from '../../http/problems/problem.ts';
import type { Completion } from './records.ts';

// Not by name: util.getSystemErrorName() does not know EBADMSG.
const { ECANCELED, EBADMSG, EIO, ENXIO, ENODEV, ENOSPC, ETIMEDOUT } = constants.errno;

/** What a transfer that failed can have for a code: what a job ends with, and the daemon's own. */
export const FAILURE_CODES = [
  'dma_error',
  'verify_mismatch',
  'media_error',
  'device_gone',
  'storage_full',
  'timeout',
  'internal_error',
] as const satisfies ProblemCode[];

const DMA_CAUSES: Record<DmaError, string> = {
  none: 'it failed',
  read: 'it could not read the source',
  write: 'it could not write the destination',
  lost: 'it was reset, or never told the end',
  map: 'the memory could not be mapped for it',
  aborted: "the copy was thrown out with other copies' faults, each time that it was tried",
  timeout: 'it did not end in time',
  device_gone: 'the device was removed',
  channel_gone: 'no DMA channel is left: they were removed, or set aside',
};

/**
 * The problem that a job's status stands for; the statuses are those of struct
 * dma_shim_completion.
 *
 * @param device the name of the device that was read or written; of a copy, the destination
 * @param source the name of the device that a copy read: nobody knows on which side it failed
 * @param channel the name of the DMA channel that failed, if one did
 */
export function jobProblem(
  { status, segment, dma }: Completion,
  device: string,
  { source = device, channel }: { source?: string; channel?: string | undefined } = {},
): Problem {
  const where = `segment ${segment}, ${source === device ? device : `${source} to ${device}`}`;
  if (dma.error !== 'none' && -status !== ENXIO) {
    const detail = `${channel ?? 'The DMA engine'}: ${DMA_CAUSES[dma.error]} (${where}): do not use the destination.`;
    return new Problem(-status === ETIMEDOUT ? 'timeout' : 'dma_error', detail, {
      dma: { error: dma.error, channel: channel ?? null, retries: dma.retries },
    });
  }
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
    case ETIMEDOUT:
      return new Problem('timeout', `The copy did not end in time (${where}).`);
    case ENODEV:
      return new Problem('dma_error', `The DMA engine has gone (${where}).`);
    case ENOSPC:
      return new Problem(
        'storage_full',
        `The file system that holds ${device} is full (segment ${segment}): free some space.`,
      );
    default:
      return new Problem(
        'internal_error',
        'The copy failed because of an internal error; see the log.',
      );
  }
}
