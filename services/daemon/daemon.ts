// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { allocateYoung } from '../base/heap.ts';
import { openLog } from '../base/log.ts';
import { loadShim } from '../base/native/shim.ts';
import { ServiceManager } from '../base/service-manager.ts';
import type { Signals } from '../base/signals.ts';
import { listenTcp, listenUnix } from '../http/listeners.ts';
import { ownUrl } from '../http/own-url.ts';
import { giveToGroup } from '../http/socket-group.ts';
import type { App } from './app.ts';
import { type Config, readConfig } from './config.ts';

/** Runs the daemon until it is told to stop. @throws StartError if it cannot start */
export async function run(signals: Signals): Promise<void> {
  const config = readConfig(process.env);
  allocateYoung();
  // What the engine has to measure takes some 20 ms: on another CPU, while the rest is loaded.
  loadShim().prepare();
  const log = openLog(config.log_level);
  const { logger } = log;
  if (config.unknown_variables.length > 0) {
    logger.warn(`ignoring unknown variables: ${config.unknown_variables.join(', ')}`);
  }
  const serviceManager = new ServiceManager(process.env);
  // Loaded once the configuration is known to be right: this is what takes most of a start.
  const { buildApp } = await import('./app.ts');
  const app = await buildApp({ config, log });
  signals.onReload(app.reload);
  signals.settled();
  let stopUnix: (() => Promise<void>) | undefined;
  try {
    const { server } = app.http;
    const port = await listenTcp(server, config.host, config.port);
    const { socket, socket_group: group } = config;
    if (socket !== undefined) stopUnix = await listenUnix(server, socket);
    if (socket !== undefined && group !== undefined) giveToGroup(socket, group);
    const started = app.start().then(() => {
      const url = logListening(logger, config, port, app);
      serviceManager.ready(`serving at ${url}`);
    });
    await Promise.race([started, signals.stop]);
    await signals.stop;
    serviceManager.stopping(config.drain_seconds);
    logger.info(
      `shutting down: work under way has ${config.drain_seconds} s; signals change nothing now`,
    );
    await app.shutDown(config.drain_seconds * 1000, stopUnix);
  } catch (error) {
    await app.shutDown(0, stopUnix);
    throw error;
  }
  logger.info('stopped');
}

/** Says where it listens, and what it still waits for. @returns the URL at which it can be opened */
function logListening(log: Logger, config: Config, port: number, app: App): string {
  const { host, socket, allowed_hosts: allowedHosts, tls_cert } = config;
  const certificate = tls_cert === undefined ? undefined : readFileSync(tls_cert, 'utf8');
  const url = ownUrl({ host, port, allowedHosts, certificate });
  const devices = app.inventory.list().length;
  const waitingFor = app.readiness.waitingFor();
  const ready = waitingFor.length === 0;
  const at = `${url} (dashboard; Swagger UI: ${url}/docs)`;
  // Whatever the level: with port 0 this line is the only place that names the port.
  log
    .child({}, { level: 'info' })
    .info(
      { url, host, port, ...(socket && { socket }), devices, ...(!ready && { waitingFor }) },
      ready
        ? `dmad is ready: ${at}`
        : `dmad is listening, but not ready (waiting for ${waitingFor.join(', ')}): ${at}`,
    );
  return url;
}
