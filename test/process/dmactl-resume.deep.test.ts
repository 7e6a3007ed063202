// SPDX-License-Identifier: Apache-2.0
import { createHash, randomFillSync } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type ConnectedClient, connect } from '../../services/client/node.ts';
import { MEMORY_DIR } from '../support/app.ts';
import { Daemon } from '../support/daemon.ts';
import { EXHAUSTIVE } from '../support/depth.ts';
import { dmactlFor } from '../support/dmactl.ts';
import { Random } from '../support/random.ts';

const MIB = 2 ** 20;
const [SIZE, KILLS] = EXHAUSTIVE ? [2048 * MIB, 10] : [128 * MIB, 3];
/** More than that, for what was sent again, is too much. */
const MOST = 1.3;
const HOUR_MS = 3_600_000;

let directory: string;
let daemon: Daemon;
let client: ConnectedClient;
let dmactl: ReturnType<typeof dmactlFor>;
const random = new Random();

beforeAll(async () => {
  directory = mkdtempSync(join(MEMORY_DIR, 'dmad-resume-'));
  daemon = new Daemon(
    { DMAD_DEVICES: `emulated:dax0.0=${SIZE}`, DMAD_STATE_DIR: join(directory, 'state') },
    { lifetimeMs: HOUR_MS },
  );
  const url = await daemon.ready();
  client = connect({ url });
  dmactl = dmactlFor({ DMAD_URL: url }, { lifetimeMs: HOUR_MS });
});
afterAll(async () => {
  await client.close();
  await daemon.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Bytes of content that the daemon has moved. */
async function moved(direction: 'upload' | 'download'): Promise<number> {
  const metrics = await client.getMetrics();
  const pattern = new RegExp(
    `^dmad_content_bytes_total\\{direction="${direction}"\\} (\\S+)$`,
    'm',
  );
  return Number(pattern.exec(metrics)?.[1] ?? 0);
}

/** Kills dmactl with -9 at random moments, once it has begun to move bytes; then lets it end. */
async function killAndResume(direction: 'upload' | 'download', ...args: string[]) {
  for (let kill = 0; kill < KILLS; kill++) {
    const before = await moved(direction);
    // Somewhere in what is left.
    const until = before + random.integer(1, Math.max(1, Math.floor((SIZE - before) / 2)));
    const running = dmactl.start(...args, '--resume');
    const ended = running.ended.then(() => true);
    while ((await moved(direction)) < until) {
      if (await Promise.race([ended, sleep(20, false)])) break;
    }
    running.child.kill('SIGKILL');
    await running.ended;
  }
  const { code, document } = await dmactl.one(...args, '--resume');
  expect(code).toBe(0);
  expect(document).toMatchObject({ size: SIZE });
}

/** Random bytes; all of it is too much for one buffer. */
function writeRandom(path: string): void {
  const fd = openSync(path, 'w');
  const block = Buffer.alloc(MIB);
  for (let at = 0; at < SIZE; at += MIB) {
    randomFillSync(block);
    writeSync(fd, block);
  }
  closeSync(fd);
}

function digestOf(path: string): string {
  const hash = createHash('sha256');
  const fd = openSync(path, 'r');
  const block = Buffer.alloc(MIB);
  for (let read = readSync(fd, block); read > 0; read = readSync(fd, block)) {
    hash.update(block.subarray(0, read));
  }
  closeSync(fd);
  return hash.digest('hex');
}

test(
  `put and get of ${SIZE / MIB} MiB, killed ${KILLS} times each: equal bytes, and little sent twice`,
  async () => {
    const original = join(directory, 'original');
    const copy = join(directory, 'copy');
    writeRandom(original);
    await killAndResume('upload', 'put', original, 'dax0.0:0');
    await killAndResume('download', 'get', 'dax0.0', copy);
    expect(digestOf(copy)).toBe(digestOf(original));
    const [sent, received] = [await moved('upload'), await moved('download')];
    process.stderr.write(
      `resume, TEST_SEED=${random.seed}: ${SIZE / MIB} MiB, ${KILLS} kills each: ` +
        `sent ${(sent / SIZE).toFixed(3)}, received ${(received / SIZE).toFixed(3)} times the size\n`,
    );
    // Downloads count what was given to the socket, of which a killed client leaves the rest.
    expect(sent).toBeLessThan(MOST * SIZE);
    expect(received).toBeLessThan(MOST * SIZE);
  },
  HOUR_MS,
);
