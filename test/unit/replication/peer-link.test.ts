// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Engine } from '../../../services/daemon/engines/engine.ts';
import { PeerLink } from '../../../services/daemon/replication/peer-link.ts';
import { makeCertificate } from '../../support/certificates.ts';

let directory: string;
let https: ReturnType<typeof createHttpsServer>;
/** Stands before the peer, and can answer something that is not TLS. */
let front: Server;
let garbage = false;
let ca: string;
let stop: AbortController;
let link: PeerLink;

const listen = async (server: Server) => {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const { cert, key } = makeCertificate(directory, 'peer');
  ca = readFileSync(cert, 'utf8');
  https = createHttpsServer({ cert: ca, key: readFileSync(key) }, (_request, response) => {
    response.writeHead(200, { 'content-length': 32, connection: 'close' }).end(Buffer.alloc(32));
  });
  const port = await listen(https);
  front = createServer((socket) => {
    socket.on('error', () => {});
    if (garbage) socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    else
      socket
        .pipe(connect(port, '127.0.0.1'))
        .on('error', () => {})
        .pipe(socket);
  });
  const url = `https://127.0.0.1:${await listen(front)}`;
  stop = new AbortController();
  const peer = { name: 'hostb', url, token: undefined, tls: { ca } };
  link = new PeerLink({
    instance: 'this daemon',
    ...{ name: 'hostb', find: () => peer, signal: stop.signal },
    ...{ received: () => {}, changed: () => {} },
    // Over TLS all goes through Node.
    ...{ engine: {} as Engine, pastNodeFrom: 1 },
  });
});
afterEach(async () => {
  garbage = false;
  await link.close();
  https.closeAllConnections();
  for (const server of [https, front]) server.close();
  rmSync(directory, { recursive: true, force: true });
});

const digest = () => link.digests('dax0.0', { offset: 0, size: 4096 }, 4096);

test('TLS that fails before the peer has ever answered ends it', async () => {
  garbage = true;
  await expect(digest()).rejects.toMatchObject({ code: 'peer_unreachable' });
});

test('TLS that fails once the peer has answered is tried again', async () => {
  await digest();
  garbage = true;
  const later = digest();
  setTimeout(() => {
    garbage = false;
  }, 500);
  expect(await later).toHaveLength(32);
});
