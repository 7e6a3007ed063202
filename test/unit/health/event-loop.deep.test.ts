// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { EventLoopLag } from '../../../services/daemon/health/event-loop.ts';

/** Keeps the event loop from turning. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('EventLoopLag sees an event loop that is late, and that it no longer is', async () => {
  const lag = new EventLoopLag();
  try {
    expect(lag.lagging).toBe(false);
    for (let turn = 0; turn < 60 && !lag.lagging; turn++) {
      block(600);
      await sleep(1);
    }
    expect(lag.lagging).toBe(true);
    // Until then; how long that takes is the machine's affair.
    while (lag.lagging) await sleep(100);
  } finally {
    lag.stop();
  }
}, 90_000);
