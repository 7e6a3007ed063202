// SPDX-License-Identifier: Apache-2.0
import {
  closeSync,
  existsSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

/**
 * Replaces a file as a whole, so that nobody ever sees half of it: mode 0600, with the owner that it
 * had, on disk before this returns. One at a time.
 *
 * @param change of the text, undefined where there was no file, to the new one; what it throws
 *   leaves the file as it was
 */
export function changeFile(path: string, change: (text: string | undefined) => string): void {
  const existing = existsSync(path);
  const target = existing ? realpathSync(path) : path;
  const draft = `${target}.new`;
  const fd = openDraft(draft);
  try {
    if (existing) {
      const { uid, gid } = statSync(target);
      fchownSync(fd, uid, gid);
    }
    writeSync(fd, change(existing ? readFileSync(target, 'utf8') : undefined));
    fsyncSync(fd);
    renameSync(draft, target);
  } catch (error) {
    unlinkSync(draft);
    throw error;
  } finally {
    closeSync(fd);
  }
  syncDirectory(dirname(target));
}

function openDraft(draft: string): number {
  try {
    return openSync(draft, 'wx', 0o600);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new Error(`there is no directory ${dirname(draft)}: make it first`);
    if (code !== 'EEXIST') throw error;
    throw new Error(`${draft} is there: somebody else is at it; if nobody is, remove it`);
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
