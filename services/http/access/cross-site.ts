// SPDX-License-Identifier: Apache-2.0
import type { FastifyRequest } from 'fastify';
import fp from 'fastify-plugin';
import { canonicalHost } from '../../base/host-address.ts';
import { cameInOnUnixSocket } from '../listeners.ts';
import { Problem } from '../problems/problem.ts';
import { routeOf } from '../route-of.ts';
import { syncHook } from '../sync-hook.ts';

/** Of the daemon's own pages, and of an address that a user typed (Fetch Metadata). */
const TRUSTED_SITES: unknown[] = ['same-origin', 'none'];

/**
 * Refuses what a browser sends for the pages of others, but for routes that are open to all: a page
 * cannot read the answers, but what its requests do is done.
 *
 * @param options.allowedHosts further names that the daemon is reached by, in canonical form
 * @param options.variable that names those
 */
export default fp<{ allowedHosts: readonly string[]; variable?: string }>(
  async (app, { allowedHosts, variable = 'DMAD_ALLOWED_HOSTS' }) => {
    const check = (request: FastifyRequest): undefined => {
      if (routeOf(request).config.access === 'public') return;
      if (cameInOnUnixSocket(request.raw.socket)) return;
      if (isOwnPage(request, allowedHosts)) return;
      throw new Problem(
        'forbidden',
        "A web page of another site sent this. Use the daemon's own pages, or a client that is no " +
          `browser; behind a proxy, add the name in the address bar to ${variable}.`,
      );
    };
    app.addHook('onRequest', syncHook(check));
  },
  { name: 'cross-site', dependencies: ['hosts'] },
);

/** Whether no page sent it, or one of the daemon's own. */
function isOwnPage({ headers }: FastifyRequest, allowedHosts: readonly string[]): boolean {
  const site = headers['sec-fetch-site'];
  // Newer browsers say it, and no page can make them say something else.
  if (site !== undefined) return TRUSTED_SITES.includes(site);
  const { origin, host } = headers;
  if (origin === undefined) return true;
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  if (url === undefined) return false;
  if (allowedHosts.includes(canonicalHost(url.hostname))) return true;
  // The same default port may be left out on either side.
  const own = `${url.protocol}//${host}`;
  return URL.canParse(own) && new URL(own).host === url.host;
}
