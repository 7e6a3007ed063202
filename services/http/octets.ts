// SPDX-License-Identifier: Apache-2.0
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { noBodyUnless } from './no-body.ts';
import { Problem } from './problems/problem.ts';
import { awaitsContinue } from './semantics.ts';

/** The media type of bytes, both ways. */
export const OCTETS = 'application/octet-stream';

/** Bytes in an answer, as the OpenAPI document describes them. */
export const octetsAnswer = {
  content: { [OCTETS]: { schema: z.string().meta({ format: 'binary' }) } },
};

/** Bytes as the body of a request. */
export const octetsBody = z.unknown().meta({ type: 'string', format: 'binary' });

export const rangeHeader = z.string().optional().meta({
  description: 'One range, such as `bytes=0-4095`; others are ignored.',
});

/**
 * Has routes receive bytes as a stream, and no other body.
 *
 * @param idleMs how long a body that is no upload may send nothing
 */
export function takeOctets(app: Pick<FastifyInstance, OctetsMethods>, idleMs: number): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(OCTETS, (_request, payload, done) => done(null, payload));
  // One that waits for "100 Continue" has a body to come.
  app.addContentTypeParser('*', noBodyUnless(OCTETS, { atOnce: awaitsContinue, idleMs }));
  app.addHook('onRequest', async (request) => {
    // Fastify has no parser for a body of no type; this one is taken as what it must be.
    request.raw.headers['content-type'] ??= OCTETS;
  });
}

type OctetsMethods = 'removeAllContentTypeParsers' | 'addContentTypeParser' | 'addHook';

/**
 * @returns how many bytes a request will bring; undefined if it is not known beforehand
 * @throws Problem invalid_request
 */
export function bodyLength({ body, headers }: FastifyRequest): number | undefined {
  if (body === undefined) return 0;
  if (headers['content-range'] !== undefined) {
    throw new Problem('invalid_request', 'Content-Range means nothing here: use ?offset=N.');
  }
  if (headers['transfer-encoding'] !== undefined) return undefined;
  return Number(headers['content-length'] ?? 0);
}
