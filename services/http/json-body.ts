// SPDX-License-Identifier: Apache-2.0
import { isUtf8 } from 'node:buffer';
import type { IncomingHttpHeaders } from 'node:http';
import type { FastifyInstance } from 'fastify';
import fp from 'fastify-plugin';
import { ArrivingBodies } from './arriving.ts';
import { beyondLimits } from './json-limits.ts';
import { noBodyUnless } from './no-body.ts';
import { Problem } from './problems/problem.ts';
import { routeOf } from './route-of.ts';
import { awaitsContinue } from './semantics.ts';
import { syncHook } from './sync-hook.ts';

/** Of a JSON body, in bytes. 4096 segments take about 300 KiB. */
export const JSON_BODY_LIMIT = 2 ** 20;
const BODY_CHECK_MS = 1000;
/** Nobody reads the body of another one, but for routes that stream it. */
const PARSED = ['POST', 'PATCH', 'PUT'];

/** Strictly (RFC 8259): UTF-8 and no byte order mark. @throws Problem invalid_request */
export function parseJson(body: Buffer): unknown {
  // Four times as fast as a TextDecoder that is fatal.
  if (!isUtf8(body)) throw new Problem('invalid_request', 'The body is not UTF-8 text.');
  const text = body.toString('utf8');
  if (text.startsWith('\ufeff')) {
    const detail = 'The body begins with a byte order mark: send it without one.';
    throw new Problem('invalid_request', detail);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const why = (error as Error).message;
    throw new Problem('invalid_request', `The body is not valid JSON: ${why}.`);
  }
  const problem = beyondLimits(value);
  if (problem !== undefined) throw problem;
  return value;
}

export interface JsonOptions {
  /** Headers of the answer to another type. */
  refusal?: Record<string, string>;
  /** @throws Problem */
  parse?: (body: Buffer) => unknown;
}

/** Has routes take JSON of one media type, and no other type of body. */
export function takeJson(
  app: FastifyInstance,
  mediaType: string,
  { refusal = {}, parse = parseJson }: JsonOptions = {},
): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    mediaType,
    { parseAs: 'buffer', bodyLimit: JSON_BODY_LIMIT },
    (_request, body: Buffer, done) => {
      let value: unknown;
      try {
        if (body.length > 0) value = parse(body);
      } catch (error) {
        done(error as Error);
        return;
      }
      done(null, value);
    },
  );

  app.addContentTypeParser('*', noBodyUnless(mediaType, { headers: refusal }));
}

export const MERGE_PATCH = 'application/merge-patch+json';

/** Has routes take merge patches (RFC 7396), and no other type of body. */
export function takeMergePatch(app: FastifyInstance): void {
  takeJson(app, MERGE_PATCH, { refusal: { 'accept-patch': MERGE_PATCH } });
}

/** Takes JSON. A body of no bytes is none, whatever its type: many clients send one with every POST. */
export default fp(
  async (app) => {
    takeJson(app, 'application/json');
    app.addHook(
      'onRequest',
      syncHook(({ raw: { headers } }) => {
        if (!hasBody(headers)) delete headers['content-type'];
      }),
    );

    const arriving = new ArrivingBodies();
    const timer = setInterval(() => arriving.check(performance.now()), BODY_CHECK_MS).unref();
    app.addHook('onClose', async () => clearInterval(timer));

    // A promise on purpose: only once the header is dealt with does Node's parser say what it has
    // against the framing of the body, and then no other answer must be on its way.
    app.addHook('preParsing', async (request, reply, payload) => {
      const { headers, method } = request;
      const parsed = PARSED.includes(method) && !routeOf(request).config.streamsBody;
      if (!hasBody(headers) || !parsed) return payload;
      if (awaitsContinue(request.raw)) reply.raw.writeContinue();
      arriving.add(payload, reply.raw, performance.now());
      return payload;
    });
  },
  { name: 'json-body' },
);

function hasBody(headers: IncomingHttpHeaders): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The handler reads the body itself, as a stream. */
    streamsBody?: boolean;
  }
}
