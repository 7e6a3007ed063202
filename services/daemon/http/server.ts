// SPDX-License-Identifier: Apache-2.0
import { randomUUID } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { PROBLEM_TYPE } from '../problems/handler.ts';
import { PROBLEMS, Problem, problemDetails } from '../problems/problem.ts';
import { boundPipelines } from './pipelining.ts';
import { closeStalled } from './stalled.ts';

const HEADERS_TIMEOUT_MS = 10_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How often it is seen to; Node's own 30 s would make 40 of the 10. */
const TIMEOUT_CHECK_MS = 1000;
const KEEP_ALIVE_TIMEOUT_MS = 30_000;
/** Waiting clients hold a connection each. Beyond this, on each listener, new ones are closed. */
const MAX_CONNECTIONS = 8192;
/** Of one address: it takes two to take them all. */
const MAX_CONNECTIONS_OF_ONE = MAX_CONNECTIONS / 2;

const METHODS = 'GET, HEAD, OPTIONS, POST, PUT';

/** Whether TLS is asked for, and whether clients must show a certificate. */
export type TlsOptions = SecureContextOptions | undefined;

/**
 * Node's HTTP server, with an answer of our own wherever Node would answer, or hang up, before
 * Fastify sees the request: every error carries a problem and a request id.
 *
 * @param tls with a `ca`, clients must show a certificate of it; undefined for HTTP in clear
 */
export function createHttpServer(handler: http.RequestListener, tls: TlsOptions): http.Server {
  const options: http.ServerOptions = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    // Uploads take as long as they take; each body has a time limit of its own.
    requestTimeout: 0,
    // A missing Host is answered by access/hosts.ts.
    requireHostHeader: false,
  };
  const server =
    tls === undefined ? http.createServer(options) : createTlsServer({ ...options, ...tls });
  server.on('request', (request, response) => {
    if (request.method === 'OPTIONS' && request.url === '*') answerForServer(response);
    else handler(request, response);
  });
  server.maxConnections = MAX_CONNECTIONS;
  boundEachAddress(server, MAX_CONNECTIONS_OF_ONE);
  // The handler sends "100 Continue" once it wants the body: a refused upload is never sent.
  server.on('checkContinue', handler);
  boundPipelines(server);
  closeStalled(server);
  server.on('checkExpectation', (_request, response: http.ServerResponse) => {
    const detail = 'The only expectation that can be met is 100-continue.';
    const { head, body } = renderProblem(new Problem('expectation_failed', detail));
    response.writeHead(head.status, head.fields).end(body);
  });
  server.on('connect', (_request, socket: Duplex) => {
    endWithProblem(
      socket,
      new Problem('method_not_allowed', 'This is not a proxy.', {
        headers: { allow: METHODS },
      }),
    );
  });
  return server;
}

/** Answers `OPTIONS *`, which asks about the server and no route of it (RFC 9110, 9.3.7). */
function answerForServer(response: http.ServerResponse): void {
  response.writeHead(204, { allow: METHODS, 'x-request-id': randomUUID() }).end();
}

function createTlsServer(options: https.ServerOptions): https.Server {
  const server = https.createServer({
    ...options,
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    requestCert: options.ca !== undefined,
    rejectUnauthorized: options.ca !== undefined,
  });
  // Node hands these to the handler of HTTP errors, which would answer one who speaks no HTTP yet.
  server.removeAllListeners('tlsClientError');
  server.on('tlsClientError', (_error, socket: TLSSocket) => socket.destroy());
  return server;
}

/** @param most connections that one address may have open; further ones are closed at once */
export function boundEachAddress(server: http.Server, most: number): void {
  const connections = new Map<string, number>();
  server.prependListener('connection', (socket: Socket) => {
    const { remoteAddress: address } = socket;
    // None on the Unix socket, which only those may use who are let in there.
    if (address === undefined) return;
    const open = (connections.get(address) ?? 0) + 1;
    connections.set(address, open);
    socket.once('close', () => {
      const left = (connections.get(address) ?? 0) - 1;
      if (left > 0) connections.set(address, left);
      else connections.delete(address);
    });
    if (open > most) socket.destroy();
  });
}

interface ParserError extends Error {
  code?: string;
}

/** Connections on which the parser refused something: it does so again for all that follows. */
const refused = new WeakSet<Duplex>();

/**
 * Answers what Node's parser refused, behind the answers to whole requests that came before it;
 * not where the answer to the refused request itself is already under way.
 */
export function handleClientError(error: ParserError, socket: Duplex): void {
  if (refused.has(socket) && socket.writable) return;
  refused.add(socket);
  answerRefused(error, socket);
}

function answerRefused(error: ParserError, socket: Duplex): void {
  // The response whose turn it is on this connection; `complete`: its request was read whole.
  const response = (socket as { _httpMessage?: http.ServerResponse })._httpMessage;
  const writable = socket.writable && error.code !== 'ECONNRESET';
  if (writable && response?.req.complete && !response.headersSent) {
    response.once('finish', () => answerRefused(error, socket));
  } else if (writable && !response?.headersSent) {
    endWithProblem(socket, parserProblem(error));
  } else {
    socket.destroy();
  }
}

function parserProblem(error: ParserError): Problem {
  switch (error.code) {
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('headers_too_large', 'The request line and header may have up to 16 KiB.');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new Problem('payload_too_large', 'The chunk extensions are too long.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem(
        'request_timeout',
        `The request header did not arrive within ${HEADERS_TIMEOUT_MS / 1000} s.`,
      );
    default:
      return new Problem('invalid_request', `This is not valid HTTP/1.1: ${error.message}.`);
  }
}

function endWithProblem(socket: Duplex, problem: Problem): void {
  const { head, body } = renderProblem(problem);
  const fields = Object.entries(head.fields).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(
    `HTTP/1.1 ${head.status} ${http.STATUS_CODES[head.status]}\r\n${fields.join('')}\r\n${body}`,
    () => socket.destroy(),
  );
}

function renderProblem(problem: Problem) {
  const requestId = randomUUID();
  const body = JSON.stringify(problemDetails(problem, requestId));
  const fields = {
    ...problem.options.headers,
    'content-type': PROBLEM_TYPE,
    'content-length': String(Buffer.byteLength(body)),
    'x-request-id': requestId,
    connection: 'close',
  };
  return { head: { status: PROBLEMS[problem.code].status, fields }, body };
}

/**
 * The path and query of a request target. Proxies send whole URLs (RFC 9112, 3.2.2), whose host
 * then counts instead of the Host header's.
 */
export function targetPath(request: http.IncomingMessage): string {
  const target = request.url ?? '/';
  const [, host, path] = /^https?:\/\/([^/?#]*)([^#]*)$/i.exec(target) ?? [];
  if (host === undefined) return target;
  request.headers.host = host;
  return path?.startsWith('/') ? path : `/${path ?? ''}`;
}
