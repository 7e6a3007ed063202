// SPDX-License-Identifier: Apache-2.0
import { getSystemErrorMap } from 'node:util';

/** Why a file cannot be used, in the words of the system: `/path: no such file or directory`. */
export function fileErrorText(error: unknown): string {
  const { errno, path, message } = error as NodeJS.ErrnoException;
  const [, text] = (errno === undefined ? undefined : getSystemErrorMap().get(errno)) ?? [];
  return text === undefined || path === undefined ? message : `${path}: ${text}`;
}
