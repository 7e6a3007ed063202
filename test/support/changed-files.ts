// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const C_SOURCES = ['native-shim/', 'test/native/', 'kernel/include/'];

/**
 * What has changed since the branch left main, or since a commit: also what is not committed yet,
 * and new files that git does not know. What was removed is not among it.
 *
 * @param root of the repository
 * @returns paths relative to it
 */
export function changedFiles(root: string, since?: string): string[] {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const base = since ?? git('merge-base', 'HEAD', 'main');
  const tracked = git('diff', '--name-only', base);
  const untracked = git('ls-files', '--others', '--exclude-standard');
  return `${tracked}\n${untracked}`
    .split('\n')
    .filter((path) => path !== '' && existsSync(join(root, path)));
}

/** What to run for changed files: the C tests or not, and the tests that import these modules. */
export function testsFor(changed: readonly string[]): { native: boolean; modules: string[] } {
  return {
    native: changed.some((path) => C_SOURCES.some((folder) => path.startsWith(folder))),
    modules: changed
      .filter((path) => path.endsWith('.ts'))
      .map((path) => join('dist', path.replace(/\.ts$/, '.js'))),
  };
}
