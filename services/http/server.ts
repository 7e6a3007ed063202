// SPDX-License-Identifier: Apache-2.0
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import { Exchanges } from './exchanges.ts';
import { LingeringResponse } from './lingering-close.ts';
import { allowHalfOpen } from './node-internals.ts';
import { Problem } from './problems/problem.ts';
import { renderProblem } from './raw-problem.ts';
import { closeStalled } from './stalled.ts';

const HEADERS_TIMEOUT_MS = 10_000;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** How often it is seen to; Node's own 30 s would make 40 of the 10. */
const TIMEOUT_CHECK_MS = 1000;
/** Longer than proxies keep idle connections (nginx, ALB: 60 s): who closes first wins no race. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
/** Waiting clients hold a connection each. Beyond this, on each listener, new ones are closed. */
const MAX_CONNECTIONS = 8192;
/** Of one address: it takes two to take them all. */
const MAX_CONNECTIONS_OF_ONE = MAX_CONNECTIONS / 2;

/** Of all services together. */
export const METHODS = 'DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT';

/** Whether TLS is asked for, and whether clients must show a certificate. */
export type TlsOptions = SecureContextOptions | undefined;

/**
 * Node's HTTP server, with an answer of our own wherever Node would answer, or hang up, before
 * Fastify sees the request: every error carries a problem and a request id.
 *
 * @param readerIdleMs how long a client may take none of what waits for it
 * @param tls with a `ca`, clients must show a certificate of it; undefined for HTTP in clear
 */
export function createHttpServer(
  handler: http.RequestListener,
  { tls, readerIdleMs }: { tls: TlsOptions; readerIdleMs: number },
): http.Server {
  const options: http.ServerOptions = {
    headersTimeout: HEADERS_TIMEOUT_MS,
    connectionsCheckingInterval: TIMEOUT_CHECK_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    // Uploads take as long as they take; each body has a time limit of its own.
    requestTimeout: 0,
    // A missing Host is answered by access/hosts.ts.
    requireHostHeader: false,
    ServerResponse: LingeringResponse,
  };
  const server =
    tls === undefined ? http.createServer(options) : createTlsServer({ ...options, ...tls });
  // For clients that send nothing more: see Exchanges.
  allowHalfOpen(server);
  server.maxConnections = MAX_CONNECTIONS;
  boundEachAddress(server, MAX_CONNECTIONS_OF_ONE);
  const route: http.RequestListener = (request, response) => {
    Exchanges.of(request.socket).add(request, response, handler);
  };
  server.on('request', route);
  // The handler sends "100 Continue" once it wants the body: a refused upload is never sent.
  server.on('checkContinue', route);
  server.on('checkExpectation', (request: http.IncomingMessage, response: http.ServerResponse) => {
    Exchanges.of(request.socket).add(request, response, refuseExpectation);
  });
  const handedOver = new Set<Duplex>();
  server.on('connect', (_request, socket: Duplex) => {
    // Node hands it over without its own listeners, and would not close it with the others.
    socket.on('error', () => {});
    handedOver.add(socket);
    socket.once('close', () => handedOver.delete(socket));
    const headers = { allow: METHODS };
    Exchanges.of(socket).refuse(
      new Problem('method_not_allowed', 'This is not a proxy.', { headers }),
    );
  });
  const closeAllConnections = server.closeAllConnections.bind(server);
  server.closeAllConnections = () => {
    closeAllConnections();
    for (const socket of handedOver) socket.destroy();
  };
  closeStalled(server, readerIdleMs);
  return server;
}

function refuseExpectation(_request: http.IncomingMessage, response: http.ServerResponse): void {
  const detail = 'The only expectation that can be met is 100-continue.';
  const { head, body } = renderProblem(new Problem('expectation_failed', detail));
  response.writeHead(head.status, head.fields).end(body);
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

const REQUEST_TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT';
const PARSER_ERROR = 'HPE_';

interface ParserError extends Error {
  code?: string;
}

/**
 * Answers what Node's parser refused, behind the answers to whole requests that came before it;
 * not if the answer to the refused request itself is already under way.
 */
export function handleClientError(error: ParserError, socket: Duplex): void {
  const { code = '' } = error;
  // A connection that was opened ahead and not used is closed without a word, which would be taken
  // for the answer to a request that is just being sent.
  const late = code === REQUEST_TIMEOUT && (socket as Socket).bytesRead > 0;
  if (late || code.startsWith(PARSER_ERROR)) {
    Exchanges.of(socket).refuseUnreadable(parserProblem(error));
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
    case REQUEST_TIMEOUT:
      return new Problem(
        'request_timeout',
        `The request header did not arrive within ${HEADERS_TIMEOUT_MS / 1000} s.`,
      );
    default:
      return new Problem('invalid_request', `This is not valid HTTP/1.1: ${error.message}.`);
  }
}

/**
 * The path and query of a request target. Proxies send whole URLs (RFC 9112, 3.2.2), whose host
 * then counts instead of the Host header's.
 */
export function targetPath(request: http.IncomingMessage): string {
  const target = request.url ?? '/';
  const [, host, path] = /^https?:\/\/([^/?#]*)([^#]*)$/i.exec(target) ?? [];
  // The router takes the first character for a slash, whatever it is.
  if (host === undefined) return target.startsWith('/') ? target : `/${target}`;
  request.headers.host = host;
  return path?.startsWith('/') ? path : `/${path ?? ''}`;
}
