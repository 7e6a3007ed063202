// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run test:changed`: the tests that import what has changed since the branch left main, or
 * since the commit that is named; and the C tests if C has changed. A test that runs the daemon as a
 * process imports none of it, so it runs only if it has changed itself; slow ones do not.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const C_SOURCES = ['native-shim/', 'test/native/', 'kernel/include/'];

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();
}

/** Paths from the root of the repository, those of new files that are not yet added among them. */
function changedFiles(since: string | undefined): string[] {
  const base = since ?? git('merge-base', 'HEAD', 'main');
  const tracked = git('diff', '--name-only', base);
  const untracked = git('ls-files', '--others', '--exclude-standard');
  return `${tracked}\n${untracked}`.split('\n').filter((path) => path !== '');
}

function run(command: string, args: string[]): void {
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const changed = changedFiles(process.argv[2]);
if (changed.some((path) => C_SOURCES.some((folder) => path.startsWith(folder)))) {
  run('npm', ['run', '-s', 'test:native']);
}
const compiled = changed
  .filter((path) => path.endsWith('.ts'))
  .map((path) => join('dist', path.replace(/\.ts$/, '.js')))
  .filter((path) => existsSync(join(ROOT, path)));
if (compiled.length > 0) {
  const only = ['--coverage=false', '--passWithNoTests'];
  run('npm', ['run', '-s', 'test:jest', '--', ...only, '--findRelatedTests', ...compiled]);
}
