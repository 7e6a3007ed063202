// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { checkKeys, devicesFor, Worker, waitForIdle } from '../support/crash-load.ts';
import { Daemon } from '../support/daemon.ts';
import { Random } from '../support/random.ts';

const CYCLES = Number(process.env.KILL_CYCLES ?? 10);
const WORKERS = 4;

test(
  `kill -9 at random moments, ${CYCLES} times: nothing that was answered is lost`,
  async () => {
    const random = new Random();
    const stateDir = mkdtempSync(join(tmpdir(), 'dmad-kill-'));
    const environment = {
      ...{ DMAD_STATE_DIR: stateDir, DMAD_DEVICES: devicesFor(WORKERS) },
      DMAD_LOG_LEVEL: 'error',
    };
    const workers = Array.from({ length: WORKERS }, (_, index) => new Worker(index, random));
    let daemon: Daemon | undefined;
    try {
      for (let cycle = 0; cycle <= CYCLES; cycle++) {
        daemon = new Daemon(environment);
        const url = await daemon.ready();
        await Promise.all(workers.map((worker) => worker.resolve(url)));
        await waitForIdle(url);
        await Promise.all(workers.map((worker) => worker.check(url)));
        await checkKeys(url);
        if (cycle === CYCLES) break;
        const working = workers.map((worker) => worker.work(url));
        await sleep(random.integer(0, 800));
        daemon.child.kill('SIGKILL');
        await Promise.all(working);
        await daemon.exited;
      }
      expect(await daemon?.stop()).toMatchObject({ code: 0, stderr: '' });
    } finally {
      process.stderr.write(
        `kill -9, TEST_SEED=${random.seed}: ${JSON.stringify(
          workers.map(({ accepted, interrupted, uncertain }) => ({
            ...{ accepted, interrupted, uncertain },
          })),
        )}\n`,
      );
      daemon?.child.kill('SIGKILL');
      rmSync(stateDir, { recursive: true, force: true });
    }
  },
  60_000 + CYCLES * 20_000,
);
