// SPDX-License-Identifier: Apache-2.0
import { type Problem, retryLater } from '../../http/problems/problem.ts';
import { causeOf } from './store.ts';

const RETRY_AFTER_SECONDS = 5;

/** What LevelDB and Node call a disk that has no more room; Node has no name for EDQUOT. */
const NO_ROOM = /No space left|ENOSPC|Disk quota exceeded|system error -122|File too large|EFBIG/i;

/** What clients hear of a disk that cannot be written. */
export function diskProblem(error: unknown): Problem {
  const cause = causeOf(error);
  const full = NO_ROOM.test(cause);
  const what = cause
    .replace(/, \w+$/, '')
    .replace(/^.*: /, '')
    .trim();
  const remedy = full ? 'free some space' : 'check the disk and its mount';
  return retryLater(
    full ? 'storage_full' : 'journal_unavailable',
    `The journal in the state directory cannot be written (${what}), and nothing is accepted ` +
      `that has to be kept in it: ${remedy}, then retry.`,
    RETRY_AFTER_SECONDS,
  );
}
