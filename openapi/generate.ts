// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { silentLog } from '../services/base/log.ts';
import { buildApp } from '../services/daemon/app.ts';
import { readConfig } from '../services/daemon/config.ts';
import { buildFleetApp } from '../services/fleet/app.ts';
import { readFleetConfig } from '../services/fleet/config.ts';

/** Writes what GET /openapi.json answers, of the daemon and of a gateway, into two files. */
const [file, fleetFile] = process.argv.slice(2);
if (file === undefined || fleetFile === undefined)
  throw new Error('usage: generate FILE FLEETFILE');
const write = (path: string, http: FastifyInstance) =>
  writeFileSync(path, `${JSON.stringify(http.swagger(), null, 2)}\n`);
const log = silentLog();
const stateDir = mkdtempSync(join(tmpdir(), 'dmad-openapi-'));
const config = readConfig({
  DMAD_STATE_DIR: stateDir,
  DMAD_DEVICES: 'emulated:dax0.0=4KiB',
});
const app = await buildApp({ config, log });
write(file, app.http);
await app.shutDown(0);
rmSync(stateDir, { recursive: true });
// It does not connect before it is started.
const fleetConfig = readFleetConfig({ DMAD_FLEET_ETCD: 'http://127.0.0.1:2379' });
const fleet = await buildFleetApp({ config: fleetConfig, log });
write(fleetFile, fleet.http);
await fleet.shutDown();
process.exit(0);
