// SPDX-License-Identifier: Apache-2.0
import { accessSync, constants, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Unavailable } from './figures.ts';

const KIB_OF = { K: 1, M: 2 ** 10, G: 2 ** 20 };

/**
 * Where a file of huge pages can be made. The shim maps such a file, as it maps a device-dax device, where it reads and
 * writes other files. Changes nothing of the machine.
 *
 * @param bytes how many are needed
 * @param root what proc and sys are mounted below
 * @throws Unavailable if they cannot be had
 */
export function findHugePages(bytes: number, root = '/'): string {
  const mounts = readFileSync(join(root, 'proc/self/mounts'), 'utf8');
  const mount = /^\S+ (\S+) hugetlbfs \S*\bpagesize=(\d+)([KMG])/m.exec(mounts);
  if (mount === null) throw new Unavailable('no hugetlbfs is mounted');
  const [, directory = '', count, unit] = mount;
  try {
    accessSync(directory, constants.W_OK);
  } catch {
    throw new Unavailable(`${directory} is not writable`);
  }
  const pageKib = Number(count) * KIB_OF[unit as keyof typeof KIB_OF];
  const pages = (which: string) =>
    Number(
      readFileSync(join(root, `sys/kernel/mm/hugepages/hugepages-${pageKib}kB/${which}`), 'utf8'),
    );
  const free = pages('free_hugepages') - pages('resv_hugepages');
  const needed = Math.ceil(bytes / 1024 / pageKib);
  if (free < needed) {
    throw new Unavailable(
      `${needed} free huge pages of ${pageKib} KiB are needed, there are ${free}`,
    );
  }
  return directory;
}
