// SPDX-License-Identifier: Apache-2.0
import { BlockList, isIP, type Socket } from 'node:net';
import type { FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { cameInOnUnixSocket } from '../http/listeners.ts';
import { countHeaders } from '../http/raw-headers.ts';
import { syncHook } from '../http/sync-hook.ts';
import { Problem } from '../problems/problem.ts';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** @param address an IPv4 or IPv6 address, or a name (which is none but "localhost") */
export function isLoopback(address: string): boolean {
  const family = isIP(address);
  if (family === 0) return address === 'localhost';
  return LOOPBACK.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

/**
 * Refuses requests whose Host is not this daemon's own, so that a web page whose name was rebound
 * to a loopback address cannot drive it (DNS rebinding).
 *
 * @param options.allowedHosts further names, in lower case, that the daemon is reached by
 */
export default fp<{ allowedHosts: string[] }>(
  async (app, { allowedHosts }) => {
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
      if (!isOwnHost(host, request, allowedHosts)) {
        throw new Problem(
          'misdirected_request',
          "The Host header names none of this daemon's own hosts; add names to DMAD_ALLOWED_HOSTS.",
        );
      }
      known.set(socket, host);
    };
    app.addHook('onRequest', syncHook(checkHost));
  },
  { name: 'hosts' },
);

function isOwnHost(host: string, request: FastifyRequest, allowedHosts: string[]): boolean {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]@/]+))(?::([0-9]{1,5}))?$/.exec(host);
  if (match === null) return false;
  const name = (match[1] ?? match[2] ?? '').toLowerCase();
  if (isLoopback(name) || allowedHosts.includes(name)) return true;
  const { localAddress, localPort } = request.raw.socket;
  const port = Number(match[3] ?? (request.protocol === 'https' ? 443 : 80));
  return localAddress?.replace(/^::ffff:/, '') === name && localPort === port;
}
