// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import Fastify, { LogController } from 'fastify';
import { validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { v7 } from 'uuid';
import { openLog } from '../../services/base/log.ts';
import { transferRequestSchema } from '../../services/daemon/transfers/request-schema.ts';
import { transferSchema } from '../../services/daemon/transfers/schema.ts';
import { aTransfer } from './transfer.ts';

const CHUNK = Buffer.alloc(256 * 2 ** 10);

/**
 * What the daemon's HTTP path is held against: Fastify, the same schemas, the same logger, one
 * line in the log for each request; and behind it nothing at all.
 */
const { logger: log } = openLog('info');
const app = Fastify({
  loggerInstance: log,
  logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'request' }),
  genReqId: () => randomUUID(),
})
  .setValidatorCompiler(validatorCompiler)
  // As the daemon's: checking an answer against its schema would cost more than making it.
  .setSerializerCompiler(() => (data) => JSON.stringify(data))
  .withTypeProvider<ZodTypeProvider>();

app.addHook('onResponse', async (request, reply) => {
  const { method, url } = request;
  const status = reply.statusCode;
  request.log.info({ method, url, status, duration_ms: reply.elapsedTime }, 'request');
});

app.post(
  '/transfers',
  { schema: { body: transferRequestSchema, response: { 201: transferSchema } } },
  async (request, reply) => {
    reply.header('x-request-id', request.id);
    return reply.code(201).send(aTransfer(v7(), request.body));
  },
);

app.addContentTypeParser('application/octet-stream', (_request, _payload, done) => done(null));

app.put('/devices/:name/content', async (request) => {
  let size = 0;
  for await (const chunk of request.raw) size += (chunk as Buffer).length;
  return { bytes_written: size };
});

app.get('/devices/:name/content', async (request, reply) => {
  const [, end] = /bytes=0-(\d+)/.exec(request.headers.range as string) as unknown as string[];
  const size = Number(end) + 1;
  reply.code(206).headers({ 'content-type': 'application/octet-stream', 'content-length': size });
  return reply.send(Readable.from(chunks(size)));
});

function* chunks(size: number) {
  for (let left = size; left > 0; left -= CHUNK.length) {
    yield left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK;
  }
}

process.on('SIGTERM', () => process.exit());
await app.listen({ host: '127.0.0.1', port: 0 });
const { port } = app.server.address() as AddressInfo;
log.info({ url: `http://127.0.0.1:${port}`, host: '127.0.0.1', port }, 'ready');
