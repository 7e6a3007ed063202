// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Answers a request in its own way. @returns whether it did; else it is answered truly */
export type Lie = (request: IncomingMessage, response: ServerResponse, url: URL) => boolean;

/** A peer that has what a replication needs of the HTTP contract, and lies as the test says. */
export class FakePeer {
  readonly bytes: Buffer;
  readonly requests: {
    path: string;
    query: URLSearchParams;
    headers: IncomingMessage['headers'];
  }[] = [];
  lie: Lie = () => false;
  readonly #server: Server;

  private constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  /** @param bytes of its device, whatever that is called */
  static async listen(bytes: Buffer): Promise<FakePeer> {
    const peer = new FakePeer(bytes);
    peer.#server.listen(0, '127.0.0.1');
    await once(peer.#server, 'listening');
    return peer;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url);
    const { pathname: path, searchParams: query } = url;
    this.requests.push({ path, query, headers: request.headers });
    if (this.lie(request, response, url)) return;
    if (url.pathname.endsWith('/digests')) this.digests(response, url);
    else this.content(request, response);
  }

  digests(response: ServerResponse, url: URL): void {
    const body = this.digestsOf(url);
    response.writeHead(200, { 'content-length': body.length });
    response.end(body);
  }

  /** What is asked for there. */
  digestsOf(url: URL): Buffer {
    const number = (name: string) => Number(url.searchParams.get(name));
    const [offset, size, block] = [number('offset'), number('size'), number('block_size')];
    const digests: Buffer[] = [];
    for (let at = offset; at < offset + size; at += block) {
      const bytes = this.bytes.subarray(at, Math.min(at + block, offset + size));
      digests.push(createHash('sha256').update(bytes).digest());
    }
    return Buffer.concat(digests);
  }

  content(request: IncomingMessage, response: ServerResponse): void {
    const { first, last, range } = rangeOf(request, this.bytes.length);
    response.writeHead(206, { 'content-length': last + 1 - first, 'content-range': range });
    response.end(this.bytes.subarray(first, last + 1));
  }
}

export function rangeOf({ headers }: IncomingMessage, size: number) {
  const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
  const [first, last] = [Number(from), Number(to)];
  return { first, last, range: `bytes ${first}-${last}/${size}` };
}
