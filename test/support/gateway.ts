// SPDX-License-Identifier: Apache-2.0
import { fileURLToPath } from 'node:url';
import { Daemon, type DaemonOptions } from './daemon.ts';

const MAIN = fileURLToPath(new URL('../../services/fleet/main.js', import.meta.url));

/** A gateway of a fleet, in its own process. */
export class Gateway extends Daemon {
  constructor(etcd: string, environment: Record<string, string> = {}, options: DaemonOptions = {}) {
    super(
      { DMAD_FLEET_PORT: '0', DMAD_FLEET_ETCD: etcd, ...environment },
      { main: MAIN, lifetimeMs: 300_000, ...options },
    );
  }
}
