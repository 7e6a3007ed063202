// SPDX-License-Identifier: Apache-2.0
import { constants } from 'node:os';
import { CHUNK_SIZE } from '../../http/stream-slots.ts';
import type { Completion } from '../engines/records.ts';

const { EMFILE, ENFILE, ENOMEM } = constants.errno;

/** The most bytes that the shim moves before the client's rate is looked at again. */
const MAX_SLICE = 16 * 2 ** 20;

/** What the shim moves in its first job for a body, in bytes. */
export const FIRST_SLICE = CHUNK_SIZE;

/**
 * How many bytes the shim moves next. Slices grow, unless the client had to be held back: a rate that is
 * limited meanwhile holds for what follows.
 *
 * @param heldBack whether the client had to wait after the last slice
 */
export function nextSlice(last: number, heldBack: boolean): number {
  return heldBack ? FIRST_SLICE : Math.min(2 * last, MAX_SLICE);
}

/** Whether the shim had no room for a job, and so has touched nothing. */
export function wasRefused({ status, bytesDone }: Completion): boolean {
  return bytesDone === 0 && [-EMFILE, -ENFILE, -ENOMEM].includes(status);
}
