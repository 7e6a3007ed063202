// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const PARENT = join(ROOT, 'dist/test-packages');

/**
 * Packages of many files, which jest would read, link and run anew for each test file. Not those
 * that find files of their own, nor any whose classes a package outside this list uses, too.
 */
const PACKAGES = [
  ...['@fastify/swagger', 'ajv/dist/2020.js', 'commander'],
  ...['fast-check', 'fastify', 'fastify-type-provider-zod', 'find-my-way', 'negotiator'],
  ...['pino', 'prom-client', 'supertest', 'undici', 'zod'],
];
const NOT_BUNDLED = ['@fastify/swagger-ui', 'classic-level', 'etcd3', 'koffi'];

/** A folder for each state of what is installed, which package-lock.json need not say yet, and of this file. */
const version = createHash('sha256')
  .update(readFileSync(join(ROOT, 'node_modules/.package-lock.json')))
  .update(readFileSync(fileURLToPath(import.meta.url)))
  .digest('hex')
  .slice(0, 16);
const folder = join(PARENT, version);

const fileOf = (name) => `${name.replaceAll('/', '_')}.mjs`;

/** For jest's `moduleNameMapper`: each package is one file, and what several need another. */
export const bundledPackages = Object.fromEntries(
  PACKAGES.map((name) => [`^${name.replaceAll('.', '[.]')}$`, join(folder, fileOf(name))]),
);

/** For jest's `globalSetup`: bundles the packages if that has not been done. */
export default async function bundlePackages() {
  if (existsSync(folder)) return;
  const { rolldown } = await import('rolldown');
  const bundle = await rolldown({
    input: Object.fromEntries(PACKAGES.map((name) => [fileOf(name), `exports of ${name}`])),
    ...{ cwd: ROOT, platform: 'node', external: NOT_BUNDLED, plugins: [exportsOf] },
    // Fastify looks in it for the file that a plugin comes from; jest's takes long to make.
    transform: { define: { 'require.cache': 'undefined' } },
  });
  mkdirSync(PARENT, { recursive: true });
  const unfinished = mkdtempSync(join(PARENT, 'unfinished-'));
  await bundle.write({
    ...{ dir: unfinished, format: 'esm', entryFileNames: '[name]' },
    chunkFileNames: '[name]-[hash].mjs',
  });
  for (const other of readdirSync(PARENT)) {
    // Another jest in this tree may be bundling, too.
    if (!other.startsWith('unfinished-')) rmSync(join(PARENT, other), { recursive: true });
  }
  try {
    renameSync(unfinished, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
    rmSync(unfinished, { recursive: true });
  }
}

/** Modules that export what a package does, by name: of a CommonJS one the bundler would not. */
const exportsOf = {
  name: 'exports-of',
  resolveId: (id, importer) => {
    if (id.startsWith('exports of ')) return `\0${id}`;
    // From here, as the tests do.
    if (importer?.startsWith('\0exports of ')) return fileURLToPath(import.meta.resolve(id));
    return null;
  },
  load: async (id) => {
    if (!id.startsWith('\0exports of ')) return null;
    const name = id.slice('\0exports of '.length);
    const names = Object.keys(await import(name)).filter((each) => /^[\w$]+$/.test(each));
    return `export { ${names.join(', ')} } from '${name}';`;
  },
};
