// SPDX-License-Identifier: Apache-2.0
/**
 * `npm run test:changed`: the tests that import what has changed since the branch left main, or
 * since the commit that is named; and the C tests if C has changed. A test that runs the daemon as a
 * process imports none of it, so it runs only if it has changed itself.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { changedFiles, testsFor } from './support/changed-files.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

function run(command: string, args: string[]): void {
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

const { native, modules } = testsFor(changedFiles(ROOT, process.argv[2]));
if (native) run('npm', ['run', '-s', 'test:native']);
// The dashboard is not compiled into modules, but for its model.
const compiled = modules.filter((path) => existsSync(join(ROOT, path)));
if (compiled.length > 0) {
  const related = ['--passWithNoTests', '--findRelatedTests', ...compiled];
  run('npm', ['run', '-s', 'test:jest', '--', ...related]);
}
