// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { JSON_BODY_LIMIT } from './json-body.ts';
import { sendProblem } from './problem-handler.ts';
import { MAX_PARAMETER_LENGTH } from './routing.ts';
import { createHttpServer, handleClientError, type TlsOptions, targetPath } from './server.ts';
import { readTraceContext } from './trace-context.ts';

/** How long answers may still take to reach their clients once all work is finished. */
const CLOSE_TIMEOUT_MS = 1000;

/**
 * Reads a file again; what is wrong with it is logged, and changes nothing.
 *
 * @param read undefined if there is nothing to read
 */
export function attemptReload(
  log: FastifyBaseLogger,
  what: string,
  read: (() => void) | undefined,
): void {
  if (read === undefined) return;
  try {
    read();
    log.info(`${what} read again`);
  } catch (error) {
    log.error(`${what} stay as they were: ${(error as Error).message}`);
  }
}

/**
 * In the place of Fastify's own compilers of JSON schemas, which it would load, a tenth of a start: routes have
 * zod schemas, which validation.ts compiles.
 */
function noCompiler(): never {
  throw new Error('register validation.ts before routes that have schemas');
}

/** Fastify as all services here have it: it answers, logs and times out as the contract says. */
export function createFastify(
  log: FastifyBaseLogger,
  tls: TlsOptions,
  readerIdleMs: number,
): FastifyInstance {
  const app = Fastify({
    loggerInstance: log,
    // One line a request is written by request-log.ts.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request' }),
    // All lines of a request that is part of a trace say so.
    childLoggerFactory: (logger, bindings, options, { headers }) =>
      logger.child({ ...bindings, ...readTraceContext(headers) }, options),
    schemaController: {
      compilersFactory: { buildValidator: () => noCompiler, buildSerializer: () => noCompiler },
    },
    bodyLimit: JSON_BODY_LIMIT,
    // None of them waits for anything, so that only a busy machine could make one late.
    pluginTimeout: 0,
    genReqId: () => randomUUID(),
    serverFactory: (handler) => createHttpServer(handler, { tls, readerIdleMs }),
    clientErrorHandler: handleClientError,
    rewriteUrl: targetPath,
    routerOptions: { maxParamLength: MAX_PARAMETER_LENGTH },
    // Such as a path that cannot be decoded; no hook has run yet.
    frameworkErrors: sendProblem,
    // Refused by the work queue, as a problem.
    return503OnClosing: false,
  });
  app.decorateRequest('route');
  return app;
}

/** Ends streams of events, stops listening, and closes once all answers are sent. */
export async function closeHttp(
  http: FastifyInstance,
  stopListening: (() => Promise<void>) | undefined,
): Promise<void> {
  for (const stream of http.eventStreams) stream.end();
  const closed = Promise.all([
    new Promise<void>((resolve) => {
      http.server.close(() => resolve());
    }),
    stopListening?.(),
  ]);
  const stalled = setTimeout(() => http.server.closeAllConnections(), CLOSE_TIMEOUT_MS);
  await closed;
  clearTimeout(stalled);
  await http.close();
}
