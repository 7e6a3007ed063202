// SPDX-License-Identifier: Apache-2.0
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyBaseLogger } from 'fastify';
import { isDeviceName } from '../../base/device-name.ts';
import { StartError } from '../../base/start-error.ts';

/**
 * The names of the real devices that daemons with this state directory have served, one a line. A
 * host that had some is never given files in their place: a boot at which they come late, or not at
 * all, would look like one at which all bytes are lost.
 */
export class SeenDevices {
  readonly path: string;
  readonly #log: FastifyBaseLogger;
  readonly #names: Set<string>;

  /** @throws StartError configuration, if the file is there and cannot be read */
  constructor(stateDir: string, log: FastifyBaseLogger) {
    this.path = join(stateDir, 'seen-devices');
    this.#log = log;
    this.#names = new Set(readNames(this.path));
  }

  get names(): readonly string[] {
    return [...this.#names];
  }

  add(name: string): void {
    if (this.#names.has(name)) return;
    this.#names.add(name);
    try {
      // Never half of it.
      writeFileSync(`${this.path}.new`, `${this.names.join('\n')}\n`, { mode: 0o600 });
      renameSync(`${this.path}.new`, this.path);
    } catch (error) {
      this.#log.error({ err: error }, `cannot note in ${this.path} which devices there are`);
    }
  }
}

/** What is no name of a device is not one that could come. */
function readNames(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n').filter(isDeviceName);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw new StartError('configuration', `cannot read ${path}: ${message}`);
  }
}
