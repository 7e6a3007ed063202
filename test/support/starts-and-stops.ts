// SPDX-License-Identifier: Apache-2.0
/**
 * A program: starts and stops the daemon's app again and again in one process, and prints what the
 * process holds before and after. Without jest, whose coverage keeps memory of each closure made.
 *
 * Usage: node --expose-gc starts-and-stops.js COUNT
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLog } from '../../services/base/log.ts';
import { buildApp } from '../../services/daemon/app.ts';
import { readConfig } from '../../services/daemon/config.ts';

/** The first ones load what is loaded once. */
const WARM_UP = 5;

async function startAndStop(): Promise<void> {
  const stateDir = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const environment = {
    DMAD_DEVICES: 'emulated:dax0.0=1MiB,emulated:dax1.0=1MiB',
    ...{ DMAD_STATE_DIR: stateDir, DMAD_LOG_LEVEL: 'silent' },
  };
  try {
    const app = await buildApp({ config: readConfig(environment), log: silentLog() });
    await app.start();
    await app.http.listen({ host: '127.0.0.1', port: 0 });
    const payload = {
      ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
      ...{ src_offset: 0, dst_offset: 0, size: 4096 },
    };
    for (const request of [
      { method: 'POST', url: '/transfers', payload } as const,
      { method: 'GET', url: '/metrics' } as const,
    ]) {
      const { statusCode, body } = await app.http.inject(request);
      if (statusCode >= 300) throw new Error(body);
    }
    await app.shutDown(5000);
  } finally {
    rmSync(stateDir, { recursive: true, force: true });
  }
}

/** What the process has open, and its heap in bytes. */
async function held() {
  // What is closed may go with the next turns of the event loop, a log's listener with its finalizer.
  for (let n = 0; n < 2; n++) {
    await sleep(100);
    globalThis.gc?.();
  }
  return {
    open: {
      handles: process
        .getActiveResourcesInfo()
        .filter((kind) => kind !== 'Immediate')
        .sort(),
      listeners: process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
      descriptors: readdirSync('/proc/self/fd').length,
      threads: readdirSync('/proc/self/task').length,
    },
    heapUsed: process.memoryUsage().heapUsed,
  };
}

const count = Number(process.argv[2]);
for (let n = 0; n < WARM_UP; n++) await startAndStop();
const before = await held();
for (let n = 0; n < count; n++) await startAndStop();
process.stdout.write(JSON.stringify({ before, after: await held() }));
