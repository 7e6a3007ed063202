// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildApp } from '../services/daemon/app.ts';
import { readConfig } from '../services/daemon/config.ts';
import { silentLog } from '../services/daemon/log.ts';

/** Writes what GET /openapi.json answers into the file that its argument names. */
const [file] = process.argv.slice(2);
if (file === undefined) throw new Error('usage: generate FILE');
const stateDir = mkdtempSync(join(tmpdir(), 'dmad-openapi-'));
const config = readConfig({
  DMAD_STATE_DIR: stateDir,
  DMAD_DEVICES: 'emulated:dax0.0=4KiB',
});
const app = await buildApp({ config, log: silentLog() });
writeFileSync(file, `${JSON.stringify(app.http.swagger(), null, 2)}\n`);
await app.shutDown(0);
rmSync(stateDir, { recursive: true });
