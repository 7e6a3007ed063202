// SPDX-License-Identifier: Apache-2.0
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify';
import fp from 'fastify-plugin';
import { cameInOnUnixSocket } from '../listeners.ts';
import { Problem } from '../problems/problem.ts';
import { problemResponses } from '../problems/schema.ts';
import { countHeaders } from '../raw-headers.ts';
import { routeOf } from '../route-of.ts';
import { syncHook } from '../sync-hook.ts';
import { ANONYMOUS, type Client, nameOfUid, trustedClient } from './client.ts';
import type { Keyring } from './keyring.ts';
import { type RouteAccess, type Scope, scopesOf } from './scopes.ts';

/** The name of the security scheme in the OpenAPI document. */
export const TOKEN_SCHEME = 'token';
/** RFC 6750, 2.1; the scheme's name in any case (RFC 9110, 11.1). */
const BEARER = /^Bearer +([A-Za-z0-9\-._~+/]+=*) *$/i;
const REALM = 'Bearer realm="dmad"';

/** Who is on the other end of a connection to the Unix socket. */
interface Peer {
  readonly uid: number;
  readonly client: Client;
}

export interface AccessOptions {
  /** Undefined: no tokens are in use, and every client may do everything. */
  keyring: Keyring | undefined;
  /** What a client without a token may do if none are in use; all that a daemon has if absent. */
  scopes?: readonly Scope[];
  /** Who is on the other end of a Unix socket. */
  peerUid(socket: Socket): number;
}

/**
 * Finds out who sends a request, and refuses it where that client may not use its route. What it
 * may do with which bytes is asked in authorize.ts, once they are known.
 */
export default fp<AccessOptions>(
  async (app, { keyring, scopes, peerUid }) => {
    const anonymous = trustedClient(ANONYMOUS, scopes);
    const peers = new WeakMap<Socket, Peer>();
    const routes: RouteOptions[] = [];

    app.decorateRequest('client');

    app.addHook('onRoute', (route) => {
      routes.push(route);
      describe(route);
    });
    app.addHook('onReady', async () => {
      const silent = routes.find(({ config }) => config?.access === undefined);
      if (silent === undefined) return;
      throw new Error(`${silent.method} ${silent.url} does not say what access it needs`);
    });

    const checkClient = (request: FastifyRequest, reply: FastifyReply): undefined => {
      // A path without a route needs a token too: strangers learn nothing.
      const { access = 'client' } = routeOf(request).config;
      if (access === 'public') return;
      request.client = identify(request);
      checkScopes(request.client, access);
      // Should its token be taken away, the answer ends there, whatever it is still doing.
      const { answers } = request.client;
      const number = answers.add(reply.raw);
      reply.raw.once('close', () => answers.remove(number));
    };
    app.addHook('onRequest', syncHook(checkClient));

    function identify(request: FastifyRequest): Client {
      const { socket, rawHeaders } = request.raw;
      // Guarded by its file mode.
      if (cameInOnUnixSocket(socket)) {
        const peer = peerOf(socket);
        request.peer.uid = peer.uid;
        // Where no tokens are in use, everybody is one client.
        return keyring === undefined ? anonymous : peer.client;
      }
      if (keyring === undefined) return anonymous;
      const given = countHeaders(rawHeaders, 'authorization');
      if (given === 0) {
        throw unauthenticated('Send a token: "Authorization: Bearer …".', REALM);
      }
      // Of several, what stands between might have looked at another one than we would.
      const [, secret] = given > 1 ? [] : (BEARER.exec(request.headers.authorization ?? '') ?? []);
      const client = secret === undefined ? undefined : keyring.find(secret);
      if (client !== undefined) return client;
      throw unauthenticated(
        'This is no token that is in force; tokens are read at the start and at SIGHUP.',
        `${REALM}, error="invalid_token"`,
      );
    }

    function peerOf(socket: Socket): Peer {
      let peer = peers.get(socket);
      if (peer === undefined) {
        const uid = peerUid(socket);
        peer = { uid, client: trustedClient(nameOfUid(uid)) };
        peers.set(socket, peer);
      }
      return peer;
    }
  },
  { name: 'access', dependencies: ['audit'] },
);

/** @throws Problem forbidden if the client has none of the scopes of which the route asks for one */
function checkScopes({ name, scopes }: Client, access: RouteAccess): void {
  const anyOf = scopesOf(access);
  const [needed] = anyOf;
  if (needed === undefined || anyOf.some((scope) => scopes.has(scope))) return;
  const detail = `The token ${name} lacks the scope ${needed}.`;
  const challenge = `${REALM}, error="insufficient_scope", scope="${needed}"`;
  throw new Problem('forbidden', detail, { headers: { 'www-authenticate': challenge } });
}

/** Says in the OpenAPI document what a route asks for, and how it refuses. */
function describe({ config, schema }: RouteOptions): void {
  const access: RouteAccess | undefined = config?.access;
  if (schema === undefined || access === undefined) return;
  schema.security =
    access === 'client'
      ? [{ [TOKEN_SCHEME]: [] }]
      : scopesOf(access).map((scope) => ({ [TOKEN_SCHEME]: [scope] }));
  if (access === 'public') return;
  schema.response = {
    ...problemResponses('unauthenticated', 'forbidden'),
    ...(schema.response as object),
  };
}

function unauthenticated(detail: string, challenge: string): Problem {
  return new Problem('unauthenticated', detail, { headers: { 'www-authenticate': challenge } });
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Who sends it. Absent on public routes, and if the client was not identified. */
    client: Client;
  }
}
