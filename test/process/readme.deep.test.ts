// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
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
    const blocks = [
      ...readFileSync('README.md', 'utf8').matchAll(
        /runs this block as it stands. -->\n```sh\n([\s\S]*?)```/g,
      ),
    ].map(([, block = '']) => block);
    const [byDmactl, byCurl] = blocks as [string, string];
    const daemon = new Daemon({
      DMAD_PORT: String(PORT),
      // What a machine without device-dax gets; never a real device.
      DMAD_DEVICES: 'emulated:dax0.0=256MiB,emulated:dax1.0=256MiB',
    });
    try {
      await daemon.ready();
      const run = async (block: string) => {
        // npx takes the commands of the project that it is run in, unless `npm exec --package=`,
        // which may run the tests, has left word of another package.
        const { npm_config_package: _, ...env } = process.env;
        const { stdout } = await promisify(execFile)('bash', ['--norc', '-euc', block], {
          ...{ timeout: 150_000, env },
        });
        return stdout;
      };
      const [doctor = '', ...transfer] = byDmactl.split('\n');
      // Its exit code speaks of the whole host: other tests' daemons too, some of them insecure.
      const shown = await run(`${doctor} || [ $? = 1 ]`);
      expect(shown).toMatch(/ok +ready: it takes transfers/);
      expect(shown.match(/^problem .*/gm) ?? []).not.toContainEqual(
        expect.not.stringMatching(/^problem +tokens of /),
      );
      expect(await run(transfer.join('\n'))).toMatch(/the same 32\.0 MiB\nthe same bytes\n$/);
      const stdout = await run(byCurl);
      expect(stdout).toContain('"bytes_written":33554432');
      expect(stdout).toContain('"status":"succeeded"');
      expect(stdout).toMatch(/the same bytes\n$/);
    } finally {
      await daemon.stop();
    }
  }, 200_000);
});

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, '127.0.0.1', () => probe.close(() => resolve(true)));
  });
}
