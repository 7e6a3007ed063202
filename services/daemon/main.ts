// SPDX-License-Identifier: Apache-2.0
import type { Logger } from 'pino';
import { buildApp } from './app.ts';
import { type Config, readConfig } from './config.ts';
import { listenTcp, listenUnix } from './http/listeners.ts';
import { openLog } from './log.ts';
import { EXIT_CODES, StartError } from './start-error.ts';

async function main(): Promise<void> {
  const config = readConfig(process.env);
  const log = openLog({ level: config.log_level });
  if (config.unknown_variables.length > 0) {
    log.warn(`these mean nothing to dmad: ${config.unknown_variables.join(', ')}`);
  }
  // From now on: as PID 1 of a container, a signal that nobody handles would be lost.
  const stop = signalled();
  let reloadEarly = false;
  let reload = () => {
    reloadEarly = true;
  };
  process.on('SIGHUP', () => reload());
  const app = await buildApp({ config, log });
  reload = app.reload;
  // Some files were read before it came.
  if (reloadEarly) reload();
  try {
    const { server } = app.http;
    const port = await listenTcp(server, config.host, config.port);
    const stopUnix = config.socket ? await listenUnix(server, config.socket) : undefined;
    const started = app.start().then(() => {
      logReady(log, config, port, app.inventory.list().length);
    });
    await Promise.race([started, stop]);
    await stop;
    log.info(
      `shutting down: work under way has ${config.drain_seconds} s; signals change nothing now`,
    );
    await app.shutDown(config.drain_seconds * 1000, stopUnix);
  } catch (error) {
    await app.shutDown(0);
    throw error;
  }
  log.info('stopped');
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

/** Resolves at the first SIGTERM or SIGINT; further ones change nothing. */
function signalled(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => resolve());
  });
}

try {
  await main();
  process.exitCode = 0;
} catch (error) {
  const known = error instanceof StartError;
  process.stderr.write(`dmad: ${known ? error.message : (error as Error).stack}\n`);
  process.exitCode = known ? error.exitCode : EXIT_CODES.failure;
}
