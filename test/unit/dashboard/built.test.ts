// SPDX-License-Identifier: Apache-2.0
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { expect, test } from '@jest/globals';

const BUILT = fileURLToPath(new URL('../../../dashboard/', import.meta.url));
const MOST_GZIPPED = 100_000;

const files = readdirSync(BUILT, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => join(entry.parentPath, entry.name));
const textOf = (pattern: RegExp) =>
  files.filter((path) => pattern.test(path)).map((path) => readFileSync(path, 'utf8'));

test('all of the dashboard has 100 KB at most, gzipped', () => {
  const sizes = files.map((path) => gzipSync(readFileSync(path)).length);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(MOST_GZIPPED);
});

test('its page has no inline script or style, which the policy forbids', () => {
  const [page = ''] = textOf(/index\.html$/);
  expect(page).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon[a-z]+=/);
});

test('nothing makes code of text', () => {
  const made = textOf(/\.js$/).map((script) => /\beval\(|new Function\(/.exec(script)?.[0]);
  expect(made.filter(Boolean)).toEqual([]);
});

test('nothing comes from elsewhere', () => {
  for (const text of textOf(/\.(?:css|html)$/)) expect(text).not.toMatch(/https?:|url\(["']?\/\//);
});
