// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ShimError } from '../base/native/shim.ts';
import { StartError } from '../base/start-error.ts';
import type { Engine } from './engines/engine.ts';

const WRITABLE_BY_OTHERS = 0o022;

/**
 * One daemon for each state directory: two would not know of each other's order.
 *
 * @returns a descriptor that holds the lock
 */
export function lockStateDir(engine: Engine, directory: string): number {
  try {
    makeDirectory(directory);
    const { uid, mode } = statSync(directory);
    if (uid !== process.getuid?.() || (mode & WRITABLE_BY_OTHERS) !== 0) {
      const permissions = (mode & 0o7777).toString(8);
      throw new Error(
        `it belongs to user ${uid} and has mode ${permissions}; it must be owned by the daemon's ` +
          `user (${process.getuid?.()}) and not group- or world-writable. Name a directory in it, ` +
          `such as ${join(directory, 'dmad')}, which the daemon makes`,
      );
    }
    return engine.lockFile(join(directory, 'lock'));
  } catch (error) {
    if (error instanceof ShimError && error.code === 'EAGAIN') {
      throw new StartError('state_in_use', `another daemon uses ${directory}: set DMAD_STATE_DIR`);
    }
    const why = (error as Error).message;
    throw new StartError('configuration', `cannot use DMAD_STATE_DIR ${directory}: ${why}`);
  }
}

/** Not mkdir's own recursion: in Node 20 that never ends where nothing can be made, as in /proc. */
function makeDirectory(path: string): void {
  if (existsSync(path)) return;
  makeDirectory(dirname(path));
  mkdirSync(path, { mode: 0o700 });
}
