// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { silentLog } from '../../services/base/log.ts';
import { buildApp } from '../../services/daemon/app.ts';
import { readConfig } from '../../services/daemon/config.ts';
import { EXAMPLES } from '../../services/daemon/openapi/examples.ts';
import { SMALL_DEVICES } from '../support/app.ts';

test('until it has started, a daemon tells how it fares, and has all others wait', async () => {
  const stateDir = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const config = readConfig({ DMAD_DEVICES: SMALL_DEVICES, DMAD_STATE_DIR: stateDir });
  const { http, start, shutDown } = await buildApp({ config, log: silentLog() });
  try {
    let answered = false;
    const waiting = http.inject('/transfers').then((response) => {
      answered = true;
      return response;
    });
    expect((await http.inject('/livez')).statusCode).toBe(200);
    const ready = await http.inject('/readyz');
    const { status, response } = EXAMPLES.isReady?.starting ?? {};
    expect([ready.statusCode, ready.json()]).toEqual([status, response]);
    expect(answered).toBe(false);
    await start();
    expect((await waiting).statusCode).toBe(200);
    expect((await http.inject('/readyz')).statusCode).toBe(200);
  } finally {
    await shutDown(0);
    rmSync(stateDir, { recursive: true, force: true });
  }
});
