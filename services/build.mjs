// SPDX-License-Identifier: Apache-2.0
/**
 * Usage: build.mjs [modules] [programs] [dashboard]. Builds what it names, or the programs:
 *
 * - modules: each module is checked and compiled, for tests and for those who import the client;
 *   what has no source any more is removed from dist/
 * - programs: daemon, gateway, dmactl, token and health check are bundled, for one file loads in half the time of the 900
 *   modules in it
 * - dashboard: by Vite
 *
 * Programs and the dashboard are built only if their sources have changed since. It runs before
 * anything is compiled, so it is JavaScript.
 */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const EXIT_CONFIGURATION = 78;
const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SETTINGS = ['package.json', 'package-lock.json', 'tsconfig.json'];
const DASHBOARD = 'services/dashboard';
/** As deep as the modules are that find files, such as the shim, relative to their own. */
const CHUNKS = 'dist/services/bundle/chunks';
/** The source of each program. A program replaces the module that is compiled from its source. */
const PROGRAMS = {
  'dist/services/daemon/main': 'services/daemon/main.ts',
  'dist/services/cli/main': 'services/cli/main.ts',
  'dist/services/token/main': 'services/token/main.ts',
  'dist/services/fleet/main': 'services/fleet/main.ts',
  'dist/services/healthcheck/main': 'services/healthcheck/main.ts',
  [`${CHUNKS}/hash-worker`]: 'services/daemon/hashing/hash-worker.ts',
};
/** Packages that load files of their own. */
const NOT_BUNDLED = ['classic-level', 'koffi', '@fastify/swagger-ui', 'etcd3'];
/** Packages that Fastify loads when somebody needs them, which nobody does here: in a bundle they would be parsed at each start. */
const NOT_NEEDED = [
  '@fastify/ajv-compiler',
  '@fastify/fast-json-stringify-compiler',
  'light-my-request',
];

const BUILDS = {
  modules: {
    needs: 'node_modules/.bin/tsc',
    // The compiler knows what has changed.
    isUpToDate: () => false,
    run: async () => {
      await run('node_modules/.bin/tsc', '-p', 'tsconfig.json');
      removeStaleModules();
    },
  },
  programs: {
    needs: 'node_modules/rolldown',
    isUpToDate: () =>
      isNewer('dist/.programs-built', programSources()) &&
      // The compiler may have put a module in the place of a program.
      Object.keys(PROGRAMS).every((name) => timeOf(`${name}.js`) <= timeOf('dist/.programs-built')),
    run: () => stamping('dist/.programs-built', bundlePrograms),
  },
  dashboard: {
    needs: 'node_modules/.bin/vite',
    isUpToDate: () =>
      isNewer('dist/.dashboard-built', [...below(DASHBOARD), ...below('services/client')]),
    run: () =>
      stamping('dist/.dashboard-built', () =>
        run('node_modules/.bin/vite', 'build', '--config', `${DASHBOARD}/vite.config.js`),
      ),
  },
};

/** A folder and all that is in it: a directory changes when a file is added or removed. */
function below(folder) {
  const path = join(ROOT, folder);
  if (!existsSync(path)) return [];
  return [folder, ...readdirSync(path, { recursive: true }).map((name) => join(folder, name))];
}

const programSources = () => below('services').filter((path) => !path.startsWith(DASHBOARD));

/** When a file was written; never, as infinity, if it is not there. */
const timeOf = (path) => statSync(join(ROOT, path), { throwIfNoEntry: false })?.mtimeMs ?? Infinity;

/** Whether a build began after the last change of its sources; its stamp says when it began. */
function isNewer(stamp, sources) {
  if (!existsSync(join(ROOT, stamp))) return false;
  const began = Number(readFileSync(join(ROOT, stamp), 'utf8'));
  const settings = SETTINGS.filter((path) => existsSync(join(ROOT, path)));
  return [...settings, ...sources].every((path) => timeOf(path) < began);
}

/** Builds, and writes the stamp: what changes during the build is built next time. */
async function stamping(stamp, build) {
  const began = Date.now();
  await build();
  writeFileSync(join(ROOT, stamp), String(began));
}

/** Runs a command; its failure is that of this program. */
async function run(program, ...args) {
  const child = spawn(join(ROOT, program), args, { cwd: ROOT, stdio: 'inherit' });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) process.exit(code ?? 1);
}

async function bundlePrograms() {
  const { rolldown } = await import('rolldown');
  const dist = (path) => path.replace('dist/', '');
  const input = Object.fromEntries(
    Object.entries(PROGRAMS).map(([name, source]) => [dist(name), join(ROOT, source)]),
  );
  // By their paths here, wherever links lead: what is built must not depend on where that is.
  const resolve = { symlinks: false };
  const bundle = await rolldown({
    ...{ input, cwd: ROOT, platform: 'node', resolve },
    external: [...NOT_BUNDLED, ...NOT_NEEDED],
  });
  const { output } = await bundle.write({
    ...{ dir: join(ROOT, 'dist'), format: 'esm', sourcemap: true },
    ...{ entryFileNames: '[name].js', chunkFileNames: `${dist(CHUNKS)}/[name]-[hash].js` },
    // V8 keeps sources in memory: without comments and blanks they are half as long.
    ...{
      minify: { compress: false, mangle: false },
      comments: { legal: true, annotation: false, jsdoc: false },
    },
  });
  const written = new Set(output.map(({ fileName }) => join('dist', fileName)));
  removeFiles(CHUNKS, (path) => !written.has(path));
}

/** Removes what earlier sources were compiled to. */
function removeStaleModules() {
  for (const folder of ['services', 'openapi', 'test']) {
    removeFiles(join('dist', folder), (path) => {
      const [, module] = /^dist\/(.*?)(?:\.d\.ts|\.js|\.js\.map)$/.exec(path) ?? [];
      if (module === undefined || path.startsWith(CHUNKS)) return false;
      return !existsSync(join(ROOT, `${module}.ts`));
    });
  }
}

function removeFiles(folder, isUnwanted) {
  const [, ...inside] = below(folder);
  for (const path of inside.filter(isUnwanted)) {
    rmSync(join(ROOT, path), { recursive: true, force: true });
  }
}

const [, script, ...args] = process.argv;
// dmactl.mjs imports this file: its arguments are dmactl's.
const named = script === fileURLToPath(import.meta.url) ? args : [];
const wanted = named.length > 0 ? named : ['programs'];
const missing = wanted.some((name) => {
  const { needs, isUpToDate } = BUILDS[name];
  return !existsSync(join(ROOT, needs)) && !isUpToDate();
});
if (missing) {
  process.stderr.write(
    'dmad: not built, and what builds it is not installed (NODE_ENV=production and ' +
      '--omit=dev leave it out): run "npm ci --include=dev", then "npm start"\n',
  );
  process.exit(EXIT_CONFIGURATION);
}
// Before the programs, which are written over some of them.
if (wanted.includes('modules')) await BUILDS.modules.run();
const others = wanted.filter((name) => name !== 'modules').map((name) => BUILDS[name]);
await Promise.all(others.filter(({ isUpToDate }) => !isUpToDate()).map((build) => build.run()));
