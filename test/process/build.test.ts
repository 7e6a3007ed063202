// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';

const ROOT = resolve('.');
/** It names the source of each program. */
const BUILDER = readFileSync(join(ROOT, 'services/build.mjs'), 'utf8');
let tree: string;
beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), 'dmad-build-'));
  for (const file of ['services/build.mjs', 'package.json', 'tsconfig.json']) {
    cpSync(join(ROOT, file), join(tree, file));
  }
  symlinkSync(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  for (const [, source = ''] of BUILDER.matchAll(/: '(services\/\S+\.ts)'/g)) {
    write(source, 'export {};\n');
  }
  write(
    'services/daemon/main.ts',
    "const { text } = await import('./text.ts');\nconsole.log(text);\n",
  );
  write('services/daemon/text.ts', "export const text: string = 'one';\n");
});
afterEach(() => rmSync(tree, { recursive: true, force: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), text);
}

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: tree,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}
const build = (...args: string[]) => run('services/build.mjs', ...args);
const daemon = () => run('dist/services/daemon/main.js').stdout;
const silent = { status: 0, stdout: '', stderr: '' };

test('bundles what has changed, and nothing else', () => {
  expect(build()).toEqual(silent);
  expect(daemon()).toBe('one\n');
  // Would show that it was bundled again.
  write('dist/services/bundle/chunks/left.js', '');
  expect(build()).toEqual(silent);
  expect(existsSync(join(tree, 'dist/services/bundle/chunks/left.js'))).toBe(true);
  write('services/daemon/text.ts', "export const text: string = 'two';\n");
  expect(build()).toEqual(silent);
  expect(daemon()).toBe('two\n');
  expect(existsSync(join(tree, 'dist/services/bundle/chunks/left.js'))).toBe(false);
});

test('of modules: checks types, compiles each module, and removes what has no source any more', () => {
  write('test/some.ts', 'export const some: number = 1;\n');
  write('dist/test/gone.js', '');
  expect(build('modules', 'programs')).toEqual(silent);
  expect(existsSync(join(tree, 'dist/test/some.js'))).toBe(true);
  expect(existsSync(join(tree, 'dist/test/gone.js'))).toBe(false);
  expect(existsSync(join(tree, 'dist/services/daemon/text.js'))).toBe(true);
  expect(daemon()).toBe('one\n');
  rmSync(join(tree, 'test/some.ts'));
  write('services/daemon/text.ts', "export const text: number = 'two';\n");
  expect(build('modules', 'programs')).toMatchObject({
    status: 2,
    stdout: expect.stringContaining('text.ts'),
  });
  // One that the compiler has replaced is bundled again.
  write('services/daemon/text.ts', "export const text: string = 'three';\n");
  write('services/daemon/main.ts', "import { text } from './text.ts';\nconsole.log(text);\n");
  expect(build('modules', 'programs')).toEqual(silent);
  expect(existsSync(join(tree, 'dist/test/some.js'))).toBe(false);
  expect(daemon()).toBe('three\n');
});
