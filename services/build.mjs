// SPDX-License-Identifier: Apache-2.0
// Compiles the daemon unless that has been done since its sources last changed. It runs before there
// is anything compiled, so it is JavaScript.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const EXIT_CONFIGURATION = 78;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const STAMP = join(ROOT, 'dist/.services-built');
const COMPILER = join(ROOT, 'node_modules/.bin/tsc');
const PROJECT = join(ROOT, 'services/tsconfig.json');

/** When a source, or a directory of them, last changed. */
function lastChange() {
  const services = join(ROOT, 'services');
  const sources = readdirSync(services, { recursive: true }).map((name) => join(services, name));
  sources.push(services, join(ROOT, 'package.json'), join(ROOT, 'tsconfig.json'));
  return Math.max(...sources.map((path) => statSync(path).mtimeMs));
}

const built = existsSync(STAMP) ? statSync(STAMP).mtimeMs : 0;
if (built < lastChange()) {
  if (!existsSync(COMPILER)) {
    process.stderr.write(
      'dmad: not built, and the TypeScript compiler is not installed (NODE_ENV=production and ' +
        '--omit=dev leave it out): run "npm ci --include=dev", then "npm start"\n',
    );
    process.exit(EXIT_CONFIGURATION);
  }
  const began = new Date();
  const { status } = spawnSync(COMPILER, ['-p', PROJECT], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
  writeFileSync(STAMP, '');
  // What changed while it was compiled is compiled next time.
  utimesSync(STAMP, began, began);
}
