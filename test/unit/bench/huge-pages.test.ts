// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Unavailable } from '../../bench/figures.ts';
import { findHugePages } from '../../bench/huge-pages.ts';

const MIB = 2 ** 20;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'dmad-test-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A machine with that mounted, and so many pages of 2 MiB. */
function machine({ mounts, free, reserved }: { mounts: string; free: number; reserved: number }) {
  const pages = join(root, 'sys/kernel/mm/hugepages/hugepages-2048kB');
  for (const each of [pages, join(root, 'proc/self')]) mkdirSync(each, { recursive: true });
  writeFileSync(join(root, 'proc/self/mounts'), `proc /proc proc rw 0 0\n${mounts}`);
  writeFileSync(join(pages, 'free_hugepages'), `${free}\n`);
  writeFileSync(join(pages, 'resv_hugepages'), `${reserved}\n`);
}

const mounted = (path: string) => `none ${path} hugetlbfs rw,relatime,pagesize=2M 0 0\n`;

test('huge pages are where hugetlbfs is mounted', () => {
  machine({ mounts: mounted(root), free: 8, reserved: 3 });
  expect(findHugePages(10 * MIB, root)).toBe(root);
});

test.each([
  ['hugetlbfs is not mounted', '', 10 * MIB, 'no hugetlbfs is mounted'],
  ['its directory is not there', '/nowhere', MIB, '/nowhere is not writable'],
  ['some pages are reserved for others', '.', 11 * MIB, '6 free huge pages of 2048 KiB are needed'],
])('a row is skipped if %s', (_, path, bytes, why) => {
  const at = path === '.' ? root : path;
  machine({ mounts: at === '' ? '' : mounted(at), free: 8, reserved: 3 });
  const find = () => findHugePages(bytes, root);
  expect(find).toThrow(Unavailable);
  expect(find).toThrow(why);
});
