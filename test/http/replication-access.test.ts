// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { FakePeer, rangeOf } from '../support/fake-peer.ts';
import { writePeers } from '../support/peers.ts';
import { bearer, secretOf, writeTokens } from '../support/tokens.ts';

const SIZE = 2 ** 20;
const HALF = SIZE / 2;
const DEVICES = [{ name: 'dax0.0', ranges: [{ offset: 0, size: HALF }], access: 'rw' }];

let directory: string;
let peer: FakePeer;
let app: TestApp;
/** Leads back to the daemon. */
let mirror: Server;
/** Where the mirror hides headers, as a proxy does that passes on only those it knows. */
let hidden: { from?: 'requests' | 'answers' } = {};
const hiding = (direction: 'requests' | 'answers') =>
  new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      const text = chunk.toString('latin1');
      const passed = hidden.from === direction ? text.replace(/^x-dmad-/gim, 'x-none-') : text;
      done(null, Buffer.from(passed, 'latin1'));
    },
  });

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  peer = await FakePeer.listen(randomBytes(SIZE));
  mirror = createServer((socket) => {
    socket.on('error', () => {});
    void app.listen().then((port) => {
      const daemon = connect(port, '127.0.0.1').on('error', () => {});
      socket.pipe(hiding('requests')).pipe(daemon).pipe(hiding('answers')).pipe(socket);
    });
  }).listen(0, '127.0.0.1');
  await once(mirror, 'listening');
  const { port } = mirror.address() as AddressInfo;
  const tokenFile = join(directory, 'token');
  writeFileSync(tokenFile, secretOf('free'), { mode: 0o600 });
  const peers = [
    ...['hostb', 'hostc'].map((name) => ({ name, url: peer.url })),
    { name: 'myself', url: `http://127.0.0.1:${port}`, token_file: tokenFile },
  ];
  app = await startTestApp({
    environment: {
      DMAD_PEERS_FILE: writePeers(directory, peers),
      DMAD_TOKENS_FILE: writeTokens(directory, [
        { name: 'limited', devices: DEVICES },
        { name: 'named', devices: DEVICES, peers: ['hostb'] },
        { name: 'none', peers: [] },
        { name: 'free' },
      ]),
      DMAD_LOG_LEVEL: 'silent',
    },
  });
});
afterAll(async () => {
  await app.close();
  mirror.close();
  await peer.close();
  rmSync(directory, { recursive: true, force: true });
});

const replicate = (name: string, more: object = {}) => {
  const payload = {
    ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: 0, dst_device_name: 'dax0.0' },
    ...{ dst_offset: 0, size: HALF, block_size: 65_536, ...more },
  };
  const headers = { prefer: 'wait=60', ...bearer(name) };
  return app.ask({ method: 'POST', url: '/replications', payload, headers });
};
const inconsistent = async (name: string) => {
  const one = await app.inject({ url: '/devices/dax0.0', headers: bearer(name) });
  const all = await app.inject({ url: '/devices', headers: bearer(name) });
  expect(all.json().devices[0]).toEqual(one.json());
  return one.json().inconsistent;
};

test('a token with peers names those, and no others', async () => {
  for (const [token, name] of [
    ['named', 'hostc'],
    ['named', 'nobody'],
    ['none', 'hostb'],
  ] as const) {
    const problem = expectProblem(await replicate(token, { peer: name }), 403, 'forbidden');
    expect(problem.errors?.[0]?.pointer).toBe('/peer');
  }
  expect(peer.requests).toEqual([]);
  expect((await replicate('named')).status).toBe(201);
  expect((await replicate('limited')).status).toBe(201);
  expect((await replicate('free', { peer: 'hostc' })).status).toBe(201);
  expectProblem(await replicate('free', { peer: 'nobody' }), 422, 'unknown_peer');
});

test('a device shows a client the inconsistent ranges that it may touch, and whose they are', async () => {
  peer.bytes.fill(randomBytes(4096));
  peer.lie = (request, response, url) => {
    if (url.pathname.endsWith('/digests')) return false;
    const { first, last, range } = rangeOf(request, SIZE);
    const body = Buffer.from(peer.bytes.subarray(first, last + 1));
    if (last === SIZE - 1) body[body.length - 1] = ~(body.at(-1) as number);
    response.writeHead(206, { 'content-length': body.length, 'content-range': range }).end(body);
    return true;
  };
  const { replication } = expectProblem(
    await replicate('free', { size: SIZE }),
    ...([502, 'digest_mismatch'] as const),
  ) as unknown as { replication: { id: string } };
  expect(await inconsistent('free')).toEqual([
    { offset: 0, size: SIZE, replication: replication.id },
  ]);
  expect(await inconsistent('limited')).toEqual([{ offset: 0, size: HALF }]);
  peer.lie = () => false;
  expect((await replicate('named')).status).toBe(201);
  expect(await inconsistent('free')).toEqual([
    { offset: HALF, size: HALF, replication: replication.id },
  ]);
  expect(await inconsistent('limited')).toEqual([]);
});

test.each(['delta', 'full'])('a peer that is this daemon itself is refused: %s', async (mode) => {
  const before = (await app.inject({ url: '/devices/dax0.0/content', headers: bearer('free') }))
    .rawPayload;
  const same = { peer: 'myself', src_device_name: 'dax1.0', mode };
  const problem = expectProblem(await replicate('limited', same), 502, 'peer_refused');
  expect(problem.detail).toMatch(/^The peer myself is this daemon itself: /);
  const after = await app.inject({ url: '/devices/dax0.0/content', headers: bearer('free') });
  expect(after.rawPayload.equals(before)).toBe(true);
});

test.each([
  ['requests', 'delta'],
  ['requests', 'full'],
  ['answers', 'delta'],
  ['answers', 'full'],
] as const)('also behind a proxy that hides its name in %s: %s', async (from, mode) => {
  hidden = { from };
  const same = { peer: 'myself', src_device_name: 'dax1.0', mode };
  const problem = expectProblem(await replicate('limited', same), 502, 'peer_refused');
  expect(problem.detail).toMatch(/this daemon itself/);
  hidden = {};
});
