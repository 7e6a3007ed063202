// SPDX-License-Identifier: Apache-2.0
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { hostInUrl, isLoopback, reachableHost } from '../base/host-address.ts';

export interface Listener {
  /** As configured. */
  host: string;
  port: number;
  /** Further names that the daemon is reached by. */
  allowedHosts: readonly string[];
  /** The daemon's own, PEM; undefined for HTTP in clear. */
  certificate: string | undefined;
}

/**
 * A URL at which the daemon can be opened from its own host: never that of a wildcard address, which
 * no request may name; with TLS one that the certificate is valid for, if there is one.
 */
export function ownUrl({ host, port, allowedHosts, certificate }: Listener): string {
  const reachable = reachableHost(host);
  if (certificate === undefined) return `http://${hostInUrl(reachable)}:${port}`;
  const local = isLoopback(reachable) ? [reachable, 'localhost'] : [reachable];
  const certified = new X509Certificate(certificate);
  const named = [...local, ...allowedHosts].find((name) =>
    isIP(name) === 0 ? certified.checkHost(name) : certified.checkIP(name),
  );
  return `https://${hostInUrl(named ?? reachable)}:${port}`;
}
