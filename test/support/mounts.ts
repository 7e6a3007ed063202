// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A command that mounts something on the state directory, for the daemon alone to see. */
export const inMounts = (script: string) => [
  ...['unshare', ...(process.getuid?.() === 0 ? [] : ['-Ur']), '-m', 'sh', '-ec'],
  ...[`${script}; exec "$@"`, 'sh'],
];

/** Why a wrapper does not work here; undefined if it does. */
export function whyNot(wrapper: string[]): string | undefined {
  const [command = '', ...args] = [...wrapper, 'true'];
  const directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const env = { ...process.env, DMAD_STATE_DIR: directory };
  const { status, stderr } = spawnSync(command, args, { env, encoding: 'utf8', timeout: 20_000 });
  rmSync(directory, { recursive: true, force: true });
  return status === 0 ? undefined : stderr?.trim() || `${command} cannot be run`;
}
