// SPDX-License-Identifier: Apache-2.0
import { join } from 'node:path';

/** Where a daemon keeps its state that DMAD_STATE_DIR does not tell, as README's table has it. */
export function defaultStateDir(
  environment: Readonly<Record<string, string | undefined>>,
  isRoot: boolean,
  home: () => string,
): string {
  if (environment.XDG_STATE_HOME) return join(environment.XDG_STATE_HOME, 'dmad');
  if (isRoot) return '/var/lib/dmad';
  return join(home(), '.local', 'state', 'dmad');
}
