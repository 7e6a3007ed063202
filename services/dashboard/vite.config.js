// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const fromHere = (path) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: fromHere('.'),
  cacheDir: fromHere('../../dist/.vite'),
  // A proxy may put a prefix before all paths.
  base: './',
  logLevel: 'warn',
  publicDir: false,
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: fromHere('../../dist/dashboard'),
    emptyOutDir: true,
    // The policy allows no data: URL but for pictures, and a file is cached for a year.
    assetsInlineLimit: 0,
    // The size of each file gzipped is a test's business.
    reportCompressedSize: false,
    modulePreload: { polyfill: false },
    // Of what is bundled, which goes where the files go.
    license: { fileName: 'licenses.md' },
  },
});
