// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';

/** The README speaks of the default port. */
const PORT = 8080;

describe('the README', () => {
  test('its first transfer works as printed', async () => {
    if (!(await isFree(PORT))) {
      process.stderr.write(`skipped: port ${PORT}, which the README speaks of, is in use\n`);
      return;
    }
    const block = /runs this block as it stands. -->\n```sh\n([\s\S]*?)```/.exec(
      readFileSync('README.md', 'utf8'),
    )?.[1];
    const directory = mkdtempSync(join(tmpdir(), 'dmad-readme-'));
    const daemon = new Daemon({
      DMAD_PORT: String(PORT),
      // What a machine without device-dax gets; never a real device.
      DMAD_DEVICES: 'emulated:dax0.0=256MiB,emulated:dax1.0=256MiB',
    });
    try {
      await daemon.ready();
      const { stdout } = await promisify(execFile)('bash', ['-euc', block as string], {
        cwd: directory,
        timeout: 50_000,
      });
      expect(stdout).toContain('"bytes_written":33554432');
      expect(stdout).toContain('"status":"succeeded"');
      expect(stdout).toMatch(/the same bytes\n$/);
    } finally {
      await daemon.stop();
      rmSync(directory, { recursive: true, force: true });
    }
  });
});

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
