// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { checkKeys, TOKEN, waitForIdle } from '../support/crash-client.ts';
import { devicesFor, Worker } from '../support/crash-load.ts';
import { Daemon } from '../support/daemon.ts';
import { report, runs } from '../support/depth.ts';
import { FaultyDisk } from '../support/faulty-disk.ts';
import { Random } from '../support/random.ts';
import { writeTokens } from '../support/tokens.ts';

const CYCLES = Number(process.env.KILL_CYCLES ?? runs(10, 2));
const WORKERS = 4;
/** EIO or ENOSPC, before or after a write or a sync of the journal: each 1 in 50. */
const ONE_IN = 12;
const DAY_MS = 86_400_000;
/** Of a daemon and of a cycle: on a busy machine they take long. */
const PATIENCE_MS = 120_000;

/** A wall clock that is wrong, from the start on, and set once more at SIGHUP; other clocks are right. */
function wrongClock(aheadMs: number, laterMs: number): string {
  const script = `
    const { now } = Date;
    let ahead = ${aheadMs};
    Date.now = () => now() + ahead;
    process.once('SIGHUP', () => { ahead += ${laterMs}; });`;
  return `--import=data:text/javascript,${encodeURIComponent(script)}`;
}

test(
  `kill -9 at random moments, ${CYCLES} times: on a disk that fails, with clocks that step: nothing that was answered is lost, nothing that was refused runs`,
  async () => {
    const random = new Random();
    const stateDir = mkdtempSync(join(tmpdir(), 'dmad-kill-'));
    const disk = new FaultyDisk();
    const step = () => random.integer(-40, 40) * DAY_MS;
    const environment = {
      ...{ DMAD_STATE_DIR: stateDir, DMAD_DEVICES: devicesFor(WORKERS) },
      DMAD_LOG_LEVEL: 'fatal',
      DMAD_TOKENS_FILE: writeTokens(stateDir, [{ name: TOKEN.name }]),
      ...disk.environment,
    };
    const workers = Array.from({ length: WORKERS }, (_, index) => new Worker(index, random));
    let daemon: Daemon | undefined;
    let passed = false;
    try {
      for (let cycle = 0; cycle <= CYCLES; cycle++) {
        disk.work();
        const NODE_OPTIONS = wrongClock(step(), step());
        daemon = new Daemon({ ...environment, NODE_OPTIONS }, { lifetimeMs: 10 * PATIENCE_MS });
        const url = await daemon.ready();
        await Promise.all(workers.map((worker) => worker.resolve(url)));
        await waitForIdle(url);
        await Promise.all(workers.map((worker) => worker.check(url)));
        for (const { refusedLabels } of workers) await checkKeys(url, refusedLabels);
        if (cycle === CYCLES) break;
        const working = workers.map((worker) => worker.work(url));
        if (random.integer(1, 4) > 1) disk.failAtRandom(ONE_IN);
        await sleep(random.integer(0, 800));
        daemon.child.kill('SIGHUP');
        await sleep(random.integer(0, 800));
        daemon.child.kill('SIGKILL');
        await Promise.all(working);
        await daemon.exited;
      }
      expect(await daemon?.stop()).toMatchObject({ code: 0, stderr: '' });
      passed = true;
    } finally {
      const show = passed ? report : console.error;
      show(
        `kill -9, TEST_SEED=${random.seed}: ${JSON.stringify(
          workers.map(({ accepted, refused, interrupted, uncertain, compared, ...more }) => ({
            ...{ accepted, refused, interrupted, uncertain, compared },
            ...{ batches: more.batches, changed: more.changed, failed: more.failed },
          })),
        )}`,
      );
      daemon?.child.kill('SIGKILL');
      disk.close();
      rmSync(stateDir, { recursive: true, force: true });
    }
  },
  (1 + CYCLES) * PATIENCE_MS,
);
