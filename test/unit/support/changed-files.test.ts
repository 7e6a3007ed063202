// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { changedFiles, testsFor } from '../../support/changed-files.ts';
import { deepTest } from '../../support/depth.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  git('init', '--quiet', '--initial-branch=main');
  write('.gitignore', 'dist\n');
  for (const name of ['committed', 'edited', 'removed', 'same']) write(`src/${name}.ts`, 'old');
  commit();
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function git(...args: string[]): string {
  const user = ['-c', 'user.name=a', '-c', 'user.email=a@localhost'];
  return execFileSync('git', [...user, ...args], { cwd: root, encoding: 'utf8' }).trim();
}

function commit(): string {
  git('add', '--all');
  git('commit', '--quiet', '--message=x');
  return git('rev-parse', 'HEAD');
}

function write(path: string, text: string): void {
  mkdirSync(join(root, path, '..'), { recursive: true });
  writeFileSync(join(root, path), text);
}

test('committed on the branch, edited and new files count; removed and ignored ones do not', () => {
  git('checkout', '--quiet', '-b', 'mine');
  write('src/committed.ts', 'new');
  commit();
  write('src/edited.ts', 'new');
  write('src/added.ts', 'new');
  write('dist/src/added.js', 'new');
  rmSync(join(root, 'src/removed.ts'));
  expect(changedFiles(root).sort()).toEqual([
    ...['src/added.ts', 'src/committed.ts', 'src/edited.ts'],
  ]);
});

test('what main gained after the branch left it is not a change of the branch', () => {
  git('checkout', '--quiet', '-b', 'mine');
  git('checkout', '--quiet', 'main');
  write('src/same.ts', 'new');
  commit();
  git('checkout', '--quiet', 'mine');
  expect(changedFiles(root)).toEqual([]);
});

test('since a commit that is named', () => {
  const since = git('rev-parse', 'HEAD');
  write('src/committed.ts', 'new');
  commit();
  expect(changedFiles(root)).toEqual([]);
  expect(changedFiles(root, since)).toEqual(['src/committed.ts']);
});

deepTest('jest finds the tests that import a module, and no others', () => {
  const find = ['--config', 'test/jest.config.js', '--listTests', '--findRelatedTests'];
  const modules = ['dist/test/bench/plot.js', 'dist/services/cli/lib/ranges.js'];
  const listed = execFileSync('node_modules/.bin/jest', [...find, ...modules]).toString();
  const tests = listed.split('\n').filter((line) => line.endsWith('.test.js'));
  expect(tests.map((path) => path.replace(/^.*\/dist\/test\//, '')).sort()).toEqual([
    ...['unit/bench/plot.test.js', 'unit/cli/generated.test.js', 'unit/cli/reading.test.js'],
  ]);
});

test('C runs its own tests, TypeScript those that import it, and text none', () => {
  expect(testsFor(['native-shim/src/os/writer.c', 'README.md'])).toEqual({
    ...{ native: true, modules: [] },
  });
  expect(testsFor(['services/http/prefer.ts'])).toEqual({
    ...{ native: false, modules: ['dist/services/http/prefer.js'] },
  });
});
