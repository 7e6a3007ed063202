// SPDX-License-Identifier: Apache-2.0
import type { Socket } from 'node:net';
import type { FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { canonicalHost, isLoopback } from '../../base/host-address.ts';
import { cameInOnUnixSocket } from '../listeners.ts';
import { Problem } from '../problems/problem.ts';
import { countHeaders } from '../raw-headers.ts';
import { syncHook } from '../sync-hook.ts';

/**
 * Refuses requests whose Host is not this daemon's own, so that a web page whose name was rebound
 * to a loopback address cannot drive it (DNS rebinding).
 *
 * @param options.host that the daemon listens on
 * @param options.allowedHosts further names that the daemon is reached by, in canonical form
 * @param options.variable that names those
 */
export default fp<{ host: string; allowedHosts: string[]; variable?: string }>(
  async (app, { host: listensOn, allowedHosts, variable = 'DMAD_ALLOWED_HOSTS' }) => {
    const own = new Set([canonicalHost(listensOn), ...allowedHosts]);
    /** What each connection's requests have named, and found to be ours: nearly always the same. */
    const known = new WeakMap<Socket, string>();

    const checkHost = (request: FastifyRequest): undefined => {
      const { socket, httpVersion, rawHeaders } = request.raw;
      // The Unix socket is guarded by its file mode, and no browser can reach it.
      if (cameInOnUnixSocket(socket)) return;
      if (countHeaders(rawHeaders, 'host') > 1) {
        throw new Problem('invalid_request', 'There is more than one Host header.');
      }
      const host = request.headers.host;
      if (host === undefined) {
        if (httpVersion === '1.0') return;
        throw new Problem('invalid_request', 'The Host header is missing.');
      }
      if (known.get(socket) === host) return;
      if (!isOwnHost(host, request, own)) {
        throw new Problem(
          'misdirected_request',
          `The Host header names none of this daemon's own hosts; add names to ${variable}.`,
        );
      }
      known.set(socket, host);
    };
    app.addHook('onRequest', syncHook(checkHost));
  },
  { name: 'hosts' },
);

function isOwnHost(host: string, request: FastifyRequest, own: ReadonlySet<string>): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]@/]+))(?::([0-9]{0,5}))?$/.exec(host);
  if (match === null) return false;
  const name = canonicalHost(match[1] ?? match[2] ?? '');
  if (isLoopback(name) || own.has(name)) return true;
  const { localAddress, localPort } = request.raw.socket;
  const port = Number(match[3] || (request.protocol === 'https' ? 443 : 80));
  return localPort === port && canonicalHost(localAddress ?? '') === name;
}
