// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { allocateYoung } from '../base/heap.ts';
import { openLog } from '../base/log.ts';
import { ServiceManager } from '../base/service-manager.ts';
import type { Signals } from '../base/signals.ts';
import { listenTcp } from '../http/listeners.ts';
import { ownUrl } from '../http/own-url.ts';
import { readFleetConfig } from './config.ts';
import { PREFIX } from './settings.ts';

/** Runs a gateway until a signal stops it. @throws StartError if it cannot start */
export async function run(signals: Signals): Promise<void> {
  const config = readFleetConfig(process.env);
  allocateYoung();
  const log = openLog(config.log_level);
  const { logger } = log;
  if (config.unknown_variables.length > 0) {
    logger.warn(`ignoring unknown variables: ${config.unknown_variables.join(', ')}`);
  }
  // Loaded once the configuration is known to be right: this is what takes most of a start.
  const { buildFleetApp } = await import('./app.ts');
  const app = await buildFleetApp({ config, log });
  const serviceManager = new ServiceManager(process.env);
  signals.onReload(app.reload);
  signals.settled();
  try {
    const { host, allowed_hosts: allowedHosts, tls_cert } = config;
    const port = await listenTcp(app.http.server, host, config.port, `${PREFIX}PORT`);
    app.start();
    serviceManager.ready(`serving on ${host}, port ${port}`);
    const certificate = tls_cert === undefined ? undefined : readFileSync(tls_cert, 'utf8');
    const url = ownUrl({ host, port, allowedHosts, certificate });
    // Whatever the level: with port 0 this line is the only place that names the port.
    logger
      .child({}, { level: 'info' })
      .info({ url, host, port }, `the gateway is listening: ${url} (Swagger UI: ${url}/docs)`);
    await signals.stop;
    logger.info('shutting down');
    serviceManager.stopping(0);
  } finally {
    await app.shutDown();
  }
  logger.info('stopped');
}
