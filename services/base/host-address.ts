// SPDX-License-Identifier: Apache-2.0
import { BlockList, isIP, SocketAddress } from 'node:net';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** What a wildcard listener can be reached by on its own host. */
const LOOPBACK_OF: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/**
 * The one spelling of a name or an address, so that two can be compared: lower case, without the
 * dot that ends an absolute name, IPv6 as RFC 5952 has it, IPv4 in IPv6 as IPv4.
 *
 * @param host without brackets or port
 */
export function canonicalHost(host: string): string {
  const lower = host.toLowerCase();
  if (isIP(lower) !== 6) return lower.replace(/(?<=[^.])\.$/, '');
  const { address } = new SocketAddress({ address: lower, family: 'ipv6' });
  return address.replace(/^::ffff:(?=[0-9.]+$)/, '');
}

/** @param host an IPv4 or IPv6 address, or a name (which is none but "localhost") */
export function isLoopback(host: string): boolean {
  const canonical = canonicalHost(host);
  const family = isIP(canonical);
  if (family === 0) return canonical === 'localhost';
  return LOOPBACK.check(canonical, family === 4 ? 'ipv4' : 'ipv6');
}

/** What to connect to for a listener on `host`: itself, or loopback for one on all addresses. */
export function reachableHost(host: string): string {
  const canonical = canonicalHost(host);
  return LOOPBACK_OF[canonical] ?? canonical;
}

/** A host as it stands in a URL. */
export function hostInUrl(host: string): string {
  return isIP(host) === 6 ? `[${host}]` : host;
}
