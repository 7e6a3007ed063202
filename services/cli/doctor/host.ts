// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import {
  accessSync,
  constants,
  readdirSync,
  readFileSync,
  realpathSync,
  statfsSync,
} from 'node:fs';
import { basename, join } from 'node:path';

const COMMAND_MS = 10_000;
const MAX_OUTPUT = 64 * 2 ** 20;

/** What doctor looks at: a host, or one that was recorded. Nothing of it changes anything. */
export interface Host {
  /** Where / is. */
  root: string;
  /** The text of a file, without white space around it; undefined if there is none to be read. */
  read(path: string): string | undefined;
  /** Bytes, for what is no text. */
  readBytes(path: string): Uint8Array | undefined;
  /** Whether the file is there, though it may not be readable. */
  exists(path: string): boolean;
  canWrite(path: string): boolean;
  /** The names in a directory; none if it cannot be read. */
  list(path: string): string[];
  /** The name of what a link leads to. */
  linkName(path: string): string | undefined;
  /** Where a link leads to. */
  linkPath(path: string): string | undefined;
  /** What a command prints; undefined if it is missing or fails. */
  output(command: string, ...args: string[]): string | undefined;
  /** Bytes that are free, and all, on the file system of a path. */
  space(path: string): { free: number; size: number } | undefined;
}

/** @param root where / of the host is */
export function realHost(root = '/'): Host {
  const at = (path: string) => join(root, path);
  const reading = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch {
      return undefined;
    }
  };
  const can = (path: string, mode: number) =>
    reading(() => accessSync(at(path), mode) === undefined) ?? false;
  return {
    root,
    read: (path) => reading(() => readFileSync(at(path), 'utf8').trim()),
    readBytes: (path) => reading(() => readFileSync(at(path))),
    exists: (path) => can(path, constants.F_OK),
    canWrite: (path) => can(path, constants.R_OK | constants.W_OK),
    list: (path) => reading(() => readdirSync(at(path)).sort()) ?? [],
    linkName: (path) => reading(() => basename(realpathSync(at(path)))),
    linkPath: (path) => reading(() => realpathSync(at(path))),
    output: (command, ...args) =>
      reading(() =>
        execFileSync(command, args, {
          ...{ encoding: 'utf8', timeout: COMMAND_MS, maxBuffer: MAX_OUTPUT },
          stdio: ['ignore', 'pipe', 'ignore'],
          // Where administrators' commands are, which is not in everybody's path.
          env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin`, LC_ALL: 'C' },
        }),
      ),
    space: (path) =>
      reading(() => {
        const { bavail, blocks, bsize } = statfsSync(at(path));
        return { free: bavail * bsize, size: blocks * bsize };
      }),
  };
}
