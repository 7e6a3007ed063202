// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders } from 'node:http';
import { devicePath } from './device-name.ts';
import { DmadError } from './error.ts';
import { checkedPath, type TransportOptions } from './transport.ts';
import type { Range } from './types.ts';

/** A request for a range of a device's bytes. */
export interface ContentRequest {
  /** From the origin on. */
  path: string;
  /** What messages call it. */
  shown: string;
  headers: Record<string, string>;
}

export function contentRequest(
  { url, shownAs, token, headers }: TransportOptions,
  device: string,
  { offset, size }: Range,
): ContentRequest {
  const base = new URL(url);
  const bearer = typeof token === 'function' ? token() : token;
  const path = base.pathname.replace(/\/+$/, '') + checkedPath(`${devicePath(device)}/content`);
  return {
    path,
    shown: (shownAs ?? base.origin) + path,
    headers: {
      ...headers,
      ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
      range: `bytes=${offset}-${offset + size - 1}`,
    },
  };
}

/** @throws DmadError unless the answer's body is exactly the range that was asked for */
export function checkRange(
  shown: string,
  { offset, size }: Range,
  status: number,
  headers: Pick<Headers, 'get'>,
): void {
  const range = headers.get('content-range');
  const first = /^bytes (\d+)-/.exec(range ?? '')?.[1] ?? (status === 200 ? '0' : undefined);
  if (first !== String(offset)) {
    throw unexpected(shown, `answered with other bytes than from ${offset} on: ${status} ${range}`);
  }
  const length = headers.get('content-length');
  if (length === String(size)) return;
  throw unexpected(shown, `has ${length} bytes to send, where ${size} were asked for`);
}

export function unexpected(shown: string, what: string): DmadError {
  return new DmadError({ code: 'unexpected_answer', message: `${shown} ${what}` });
}

export function headersOf(raw: IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(raw)) {
    for (const each of [value ?? []].flat()) headers.append(name, each);
  }
  return headers;
}
