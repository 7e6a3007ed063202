// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders } from 'node:http';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Dispatcher } from 'undici';
import { INSTANCE_HEADER } from '../../base/instance.ts';
import { clientGone } from '../../http/client-gone.ts';
import { PROBLEMS, Problem, type ProblemCode, retryLater } from '../../http/problems/problem.ts';
import { awaitsContinue } from '../../http/semantics.ts';
import type { HostLink } from './host-link.ts';

/** Headers of a host's answer that are the client's business. */
const PASSED = [
  ...['content-type', 'content-length', 'content-range', 'accept-ranges', 'retry-after'],
  'repr-digest',
  INSTANCE_HEADER,
];
const MAX_PROBLEM_BYTES = 2 ** 16;

export interface PassedRequest {
  /** On the host. */
  path: string;
  query: Record<string, string | number | undefined>;
  headers?: Record<string, string> | undefined;
  /** The client's body goes to the host: of unknown length, but no longer than it has a right to. */
  upload?: { maxBytes: number };
  /** Whether a successful answer is what was asked for. */
  accepts?: (headers: IncomingHttpHeaders) => boolean;
}

/**
 * Sends a request on to a host, and its answer back, piece by piece: neither side gets ahead of the
 * other, and if one of them goes, so does the other.
 *
 * @throws Problem the host's own; host_unreachable
 */
export async function passThrough(
  request: FastifyRequest,
  reply: FastifyReply,
  link: HostLink,
  { path, query, headers = {}, upload, accepts = () => true }: PassedRequest,
): Promise<void> {
  const gone = clientGone(reply);
  const method = request.method as 'GET' | 'HEAD' | 'PUT';
  let answer: Dispatcher.ResponseData;
  try {
    answer = await link.request({
      ...{ method, path: path + queryString(query), headers, signal: gone },
      ...(upload && { body: bodyOf(request, reply, upload.maxBytes) }),
    });
  } catch (error) {
    gone.throwIfAborted();
    if (error instanceof Problem) throw error;
    throw unreachable(link, (error as Error).message);
  }
  const { statusCode: status, body } = answer;
  if (status >= 300) throw await problemOf(link, answer);
  const type = String(answer.headers['content-type'] ?? 'application/octet-stream');
  // Nothing that a browser would show as a page of the gateway's.
  if (!/^application\/(?:json|octet-stream)\b/.test(type)) {
    body.destroy();
    throw unreachable(link, `it answered with ${type.slice(0, 100)}`);
  }
  if (!accepts(answer.headers)) {
    body.destroy();
    throw unreachable(link, 'the device has changed');
  }
  const raw = reply.hijack().raw;
  // A pipeline has some of its own beside those that are there anyway.
  raw.setMaxListeners(2 * raw.getMaxListeners());
  raw.writeHead(status, {
    ...(reply.getHeaders() as Record<string, string>),
    ...Object.fromEntries(
      PASSED.flatMap((name) => {
        const value = answer.headers[name];
        return value === undefined ? [] : [[name, value]];
      }),
    ),
  });
  try {
    await pipeline(body, raw);
  } catch (error) {
    request.log.warn({ err: error, host: link.name }, 'content broken off');
    raw.destroy();
  }
}

/**
 * What the client sends. Behind a stream of its own: the host may answer before it has read all, and
 * the client must get that answer.
 */
function bodyOf(request: FastifyRequest, reply: FastifyReply, maxBytes: number): Readable {
  let bytes = 0;
  const body = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes <= maxBytes) done(null, chunk);
      else done(beyondRight(request.client.name, maxBytes));
    },
  });
  const { raw } = request;
  if (request.body === undefined) return body.end();
  if (awaitsContinue(raw)) reply.raw.writeContinue();
  raw.pipe(body);
  // Cut short: the host must not take what came for all of it, and is not to blame.
  const cut = (error?: Error) => {
    if (raw.readableEnded) return;
    const known = error instanceof Problem;
    body.destroy(known ? error : new Problem('invalid_request', 'The body was cut short.'));
  };
  raw.once('error', cut);
  raw.once('close', cut);
  body.once('close', () => {
    raw.unpipe(body);
    raw.resume();
  });
  body.on('error', () => {});
  return body;
}

function beyondRight(client: string, bytes: number): Problem {
  const detail = `The token ${client} has no right to write more than ${bytes} bytes there; those before may be written.`;
  return new Problem('forbidden', detail);
}

/** The problem by which a host refused a request, as the gateway's own. */
async function problemOf(
  link: HostLink,
  { statusCode: status, headers, body }: Dispatcher.ResponseData,
): Promise<Problem> {
  let text = '';
  try {
    for await (const chunk of body) {
      text += chunk;
      if (text.length > MAX_PROBLEM_BYTES) break;
    }
  } catch {
    // What it said is lost; its status is not.
  }
  const given = parse(text);
  const code = String(given.code);
  // It is the gateway that the host does not let in, not the client.
  if (status === 401 || status === 403 || !Object.hasOwn(PROBLEMS, code)) {
    return unreachable(
      link,
      `it answered ${status}: ${String(given.detail ?? text).slice(0, 200)}`,
    );
  }
  const passed = ['retry-after', 'content-range'].flatMap((name) => {
    const value = headers[name];
    return value === undefined ? [] : [[name, String(value)]];
  });
  const { bytes_written: bytesWritten, errors } = given;
  return new Problem(code as ProblemCode, String(given.detail), {
    headers: Object.fromEntries(passed),
    ...(Array.isArray(errors) && { errors }),
    ...(typeof bytesWritten === 'number' && { members: { bytes_written: bytesWritten } }),
  });
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function unreachable({ name }: HostLink, why: string): Problem {
  return retryLater('host_unreachable', `Host ${name}: ${why}`, 2);
}

function queryString(query: PassedRequest['query']): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) parameters.set(name, String(value));
  }
  return parameters.size === 0 ? '' : `?${parameters}`;
}
