// SPDX-License-Identifier: Apache-2.0
import type { Logger } from 'pino';
import { buildApp } from './app.ts';
import { type Config, readConfig } from './config.ts';
import { listenTcp, listenUnix } from './http/listeners.ts';
import { openLog } from './log.ts';
import type { Signals } from './signals.ts';

/** Runs the daemon until it is told to stop. @throws StartError if it cannot start */
export async function run(signals: Signals): Promise<void> {
  const config = readConfig(process.env);
  const log = openLog(config.log_level);
  const { logger } = log;
  if (config.unknown_variables.length > 0) {
    logger.warn(`ignoring unknown variables: ${config.unknown_variables.join(', ')}`);
  }
  const app = await buildApp({ config, log });
  signals.onReload(app.reload);
  signals.settled();
  try {
    const { server } = app.http;
    const port = await listenTcp(server, config.host, config.port);
    const stopUnix = config.socket ? await listenUnix(server, config.socket) : undefined;
    const started = app.start().then(() => {
      logReady(logger, config, port, app.inventory.list().length);
    });
    await Promise.race([started, signals.stop]);
    await signals.stop;
    logger.info(
      `shutting down: work under way has ${config.drain_seconds} s; signals change nothing now`,
    );
    await app.shutDown(config.drain_seconds * 1000, stopUnix);
  } catch (error) {
    await app.shutDown(0);
    throw error;
  }
  logger.info('stopped');
}

function logReady(log: Logger, { host, socket, tls_cert }: Config, port: number, devices: number) {
  const scheme = tls_cert === undefined ? 'http' : 'https';
  const url = `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  // Whatever the level: with port 0 this line is the only place that names the port.
  log
    .child({}, { level: 'info' })
    .info(
      { url, host, port, ...(socket && { socket }), devices },
      `dmad is ready: ${url} (Swagger UI: ${url}/docs)`,
    );
}
