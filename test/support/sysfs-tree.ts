// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Path, such as `/sys/bus/dax/devices/dax0.0`, to what is there; folders are implied. */
export type SysfsTree = Record<
  string,
  | { file: string }
  | { link: string }
  /** An attribute that cannot be read. */
  | { error: string }
>;

/** Where the recorded trees are, seen from dist/test/support/. */
const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/sysfs/', import.meta.url));

/** A tree recorded from a real kernel; see test/fixtures/sysfs/README.md. */
export function recordedSysfs(name: string): SysfsTree {
  return JSON.parse(readFileSync(join(FIXTURES, `${name}.json`), 'utf8'));
}

/** Makes a sysfs of plain files. @returns its root, and a function that removes it */
export function makeSysfs(tree: SysfsTree): { root: string; remove(): void } {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-sysfs-'));
  const folders = new Set<string>();
  for (const [path, entry] of Object.entries(tree)) {
    const target = join(directory, path);
    const folder = dirname(target);
    // Many files share a folder.
    if (!folders.has(folder)) mkdirSync(folder, { recursive: true });
    folders.add(folder);
    if ('file' in entry) writeFileSync(target, entry.file);
    else if ('link' in entry) symlinkSync(entry.link, target);
    // A directory cannot be read as a file either, by root too.
    else mkdirSync(target);
  }
  return {
    root: join(directory, 'sys'),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
