// SPDX-License-Identifier: Apache-2.0
// Usage: build.mjs [daemon] [dashboard]. Builds what it names, or the daemon, unless that has been done
// since its sources last changed. It runs before there is anything compiled, so it is JavaScript.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const EXIT_CONFIGURATION = 78;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SETTINGS = ['package.json', 'tsconfig.json'];
const DASHBOARD = 'services/dashboard';

const BUILDS = {
  daemon: {
    stamp: 'dist/.services-built',
    sources: () => below('services').filter((path) => !path.startsWith(DASHBOARD)),
    command: ['node_modules/.bin/tsc', '-p', 'services/tsconfig.json'],
  },
  dashboard: {
    stamp: 'dist/.dashboard-built',
    sources: () => [...below(DASHBOARD), ...below('services/client')],
    command: ['node_modules/.bin/vite', 'build', '--config', `${DASHBOARD}/vite.config.js`],
  },
};

/** A folder and all that is in it: a directory changes when a file is added or removed. */
function below(folder) {
  const path = join(ROOT, folder);
  if (!existsSync(path)) return [];
  return [folder, ...readdirSync(path, { recursive: true }).map((name) => join(folder, name))];
}

const timeOf = (path) => statSync(join(ROOT, path)).mtimeMs;

function isUpToDate({ stamp, sources }) {
  const built = existsSync(join(ROOT, stamp)) ? timeOf(stamp) : 0;
  return [...SETTINGS, ...sources()].every((path) => timeOf(path) <= built);
}

/** @returns the exit code of the command */
async function run({ stamp, command: [program, ...args] }) {
  const began = new Date();
  const child = spawn(join(ROOT, program), args, { cwd: ROOT, stdio: 'inherit' });
  const code = await new Promise((resolve) => child.once('close', (status) => resolve(status)));
  if (code !== 0) return code ?? 1;
  writeFileSync(join(ROOT, stamp), '');
  // What changed during the build is built next time.
  utimesSync(join(ROOT, stamp), began, began);
  return 0;
}

const [, script, ...args] = process.argv;
// dmactl.mjs imports this file: its arguments are dmactl's.
const named = script === fileURLToPath(import.meta.url) ? args : [];
const outdated = (named.length > 0 ? named : ['daemon'])
  .map((name) => BUILDS[name])
  .filter((build) => !isUpToDate(build));
if (outdated.some(({ command: [program] }) => !existsSync(join(ROOT, program)))) {
  process.stderr.write(
    'dmad: not built, and what builds it is not installed (NODE_ENV=production and ' +
      '--omit=dev leave it out): run "npm ci --include=dev", then "npm start"\n',
  );
  process.exit(EXIT_CONFIGURATION);
}
const codes = await Promise.all(outdated.map(run));
const failed = codes.find((code) => code !== 0);
if (failed !== undefined) process.exit(failed);
