// SPDX-License-Identifier: Apache-2.0
import { chownSync } from 'node:fs';
import { loadShim } from '../base/native/shim.ts';
import { StartError } from '../base/start-error.ts';

/** Leaves a file's owner as it is. */
const SAME = -1;

/**
 * Gives a Unix socket to a group, whose members may then connect.
 *
 * @param group its name or number
 * @throws StartError configuration
 */
export function giveToGroup(path: string, group: string): void {
  const id = /^[0-9]+$/.test(group) ? Number(group) : Number(loadShim().groupId(group));
  if (id < 0) {
    throw new StartError('configuration', `DMAD_SOCKET_GROUP: there is no group "${group}"`);
  }
  try {
    chownSync(path, SAME, id);
  } catch (error) {
    const why = (error as NodeJS.ErrnoException).code;
    throw new StartError(
      'configuration',
      `DMAD_SOCKET_GROUP: cannot give ${path} to group "${group}" (${why}): the daemon must be a ` +
        'member of it (Group= or SupplementaryGroups= in the unit), or may change owners (CAP_CHOWN)',
    );
  }
}
