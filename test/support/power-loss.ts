// SPDX-License-Identifier: Apache-2.0
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statfsSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../../../test/support/power_loss.c', import.meta.url));

const TMPFS = 0x01021994;
/** On a disk: in memory nothing is flushed. */
const DISK_DIR = statfsSync(tmpdir()).type === TMPFS ? process.cwd() : tmpdir();

/** A host whose disk loses what was not synced when its power fails, as a daemon's state directory sees it. */
export class PowerLoss {
  readonly #directory = mkdtempSync(join(DISK_DIR, 'dmad-power-'));
  readonly #library = join(this.#directory, 'power_loss.so');
  readonly #kept = join(this.#directory, 'kept');
  readonly #bootId = join(this.#directory, 'boot_id');
  readonly #stateDir = join(this.#directory, 'state');

  constructor() {
    const flags = ['-O1', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC'];
    execFileSync('gcc', [...flags, '-o', this.#library, SOURCE, '-ldl']);
    mkdirSync(this.#kept);
    this.#boot();
  }

  /** For the daemon's environment. */
  get environment(): Record<string, string> {
    const script = `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      const { readFileSync } = fs;
      fs.readFileSync = (path, ...rest) =>
        readFileSync(path === '/proc/sys/kernel/random/boot_id' ? '${this.#bootId}' : path, ...rest);
      syncBuiltinESMExports();`;
    return {
      ...{ DMAD_STATE_DIR: this.#stateDir, LD_PRELOAD: this.#library },
      ...{ POWER_LOSS_SCOPE: this.#stateDir, POWER_LOSS_KEPT: this.#kept },
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}`,
    };
  }

  /** The power fails: the daemon must have been killed. The host boots anew. */
  cut(): void {
    for (const entry of readdirSync(this.#stateDir, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const { ino, birthtimeNs } = statSync(path, { bigint: true });
      const kept = join(this.#kept, `${ino}-${birthtimeNs}`);
      const bytes = existsSync(kept) ? readFileSync(kept) : Buffer.alloc(0);
      // In its place: a device is known by its file.
      writeFileSync(path, bytes, { flag: 'r+' });
      truncateSync(path, bytes.length);
    }
    this.#boot();
  }

  close(): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #boot(): void {
    writeFileSync(this.#bootId, `${randomUUID()}\n`);
  }
}
