// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from 'node:http';

/** What proxies add; nginx adds none of its own accord, but speaks HTTP/1.0 to what is behind it. */
const PROXY_HEADERS = ['via', 'forwarded', 'x-forwarded-for', 'x-forwarded-prefix', 'x-real-ip'];

/**
 * A reference to something next to the target of a request, such as a new transfer. A proxy may have
 * put a prefix before all paths, which only its clients know: for them it is relative (RFC 3986, 4.2).
 *
 * @param target the path of the request, such as /transfers
 * @param name below it
 */
export function referenceBelow(request: IncomingMessage, target: string, name: string): string {
  const { headers, httpVersion } = request;
  const proxied =
    httpVersion === '1.0' || PROXY_HEADERS.some((each) => headers[each] !== undefined);
  const path = `${target}/${name}`;
  return proxied ? `.${path.slice(target.lastIndexOf('/'))}` : path;
}
