// SPDX-License-Identifier: Apache-2.0
import type { RequestPayload } from 'fastify';
import fp from 'fastify-plugin';
import { Problem } from '../problems/problem.ts';
import { beyondLimits } from './json-limits.ts';

/** Of a JSON body, in bytes. 4096 segments take about 300 KiB. */
export const JSON_BODY_LIMIT = 2 ** 20;
/** How long a JSON body may take to arrive, so that no one holds a request open for nothing. */
const BODY_TIMEOUT_MS = 30_000;
const BODY_CHECK_MS = 1000;
const CLOSE = { connection: 'close' };

/** Takes JSON, strictly (RFC 8259: UTF-8 and no byte order mark), and no other type of body. */
export default fp(
  async (app) => {
    const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

    app.removeAllContentTypeParsers();
    app.addContentTypeParser(
      'application/json',
      { parseAs: 'buffer', bodyLimit: JSON_BODY_LIMIT },
      (_request, body: Buffer, done) => {
        if (body.length === 0) return done(null, undefined);
        let text: string;
        try {
          text = utf8.decode(body);
        } catch {
          return done(new Problem('invalid_request', 'The body is not UTF-8 text.'));
        }
        if (text.startsWith('\ufeff')) {
          const detail = 'The body begins with a byte order mark: send it without one.';
          return done(new Problem('invalid_request', detail));
        }
        let value: unknown;
        try {
          value = JSON.parse(text);
        } catch (error) {
          const why = (error as Error).message;
          return done(new Problem('invalid_request', `The body is not valid JSON: ${why}.`));
        }
        done(beyondLimits(value) ?? null, value);
      },
    );

    /** Bodies on their way, and since when, the oldest first: a timer for each would cost more. */
    const arriving = new Map<RequestPayload, number>();
    const timer = setInterval(() => {
      const now = performance.now();
      for (const [payload, since] of arriving) {
        if (now - since < BODY_TIMEOUT_MS) return;
        arriving.delete(payload);
        // Only whoever parses the body listens; where an answer went out before, nobody does.
        if (payload.listenerCount('error') === 0) continue;
        const detail = `The body did not arrive within ${BODY_TIMEOUT_MS / 1000} s.`;
        // Not destroy(): that would close the connection before the answer is on it.
        payload.emit('error', new Problem('request_timeout', detail, { headers: CLOSE }));
      }
    }, BODY_CHECK_MS).unref();
    app.addHook('onClose', async () => clearInterval(timer));

    // A promise on purpose: what Node's parser has against the framing it says behind the header.
    app.addHook('preParsing', async (request, reply, payload) => {
      const { headers, routeOptions } = request;
      const hasBody =
        headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
      // Nobody reads the body of a GET.
      const parsed = request.method === 'POST' && !routeOptions.config.streamsBody;
      if (!hasBody || !parsed) return payload;
      // The client waits for this before it sends the body (RFC 9110, 10.1.1).
      if (headers.expect !== undefined) reply.raw.writeContinue();
      arriving.set(payload, performance.now());
      // Once it is there whole, or its connection has gone.
      payload.once('close', () => arriving.delete(payload));
      return payload;
    });
  },
  { name: 'json-body' },
);

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The handler reads the body itself, as a stream. */
    streamsBody?: boolean;
  }
}
