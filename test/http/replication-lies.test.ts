// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { deepTest } from '../support/depth.ts';
import { FakePeer, type Lie, rangeOf } from '../support/fake-peer.ts';
import { writePeers } from '../support/peers.ts';
import { WAYS } from '../support/ways.ts';

const SIZE = 2 ** 20;
const BLOCK = 65_536;

describe.each(WAYS)('%s', (_way, pastNodeFrom) => {
  let directory: string;
  let peer: FakePeer;
  let app: TestApp;
  let before: Buffer;
  let elsewhere: ReturnType<typeof createServer>;
  /** Requests that reached a server which no peers file names. */
  let strayed = 0;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
    elsewhere = createServer((_request, response) => {
      strayed++;
      response.end();
    }).listen(0, '127.0.0.1');
  });
  beforeEach(async () => {
    strayed = 0;
    peer = await FakePeer.listen(randomBytes(2 * SIZE));
    app = await startTestApp({
      environment: {
        DMAD_PEERS_FILE: writePeers(directory, [{ name: 'liar', url: peer.url }]),
        DMAD_LOG_LEVEL: 'silent',
      },
      pastNodeFrom,
      peerPatience: { silenceMs: 300, windowMs: 600, windowBytes: 1024 },
    });
    before = randomBytes(SIZE);
    await app.inject({ method: 'PUT', url: '/devices/dax0.0/content', payload: before });
  });
  afterEach(async () => {
    await app.close();
    await peer.close();
  });
  afterAll(() => {
    elsewhere.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const TRACE = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';

  const replicate = (more: object = {}) => {
    const payload = {
      ...{ peer: 'liar', src_device_name: 'dax0.0', src_offset: 0, dst_device_name: 'dax0.0' },
      ...{ dst_offset: 0, size: SIZE, block_size: BLOCK, ...more },
    };
    const headers = { prefer: 'wait=60', traceparent: TRACE };
    return app.ask({ method: 'POST', url: '/replications', payload, headers });
  };
  const content = async () =>
    (await app.inject({ method: 'GET', url: '/devices/dax0.0/content' })).rawPayload;
  const inconsistent = async () =>
    (await app.inject({ method: 'GET', url: '/devices/dax0.0' })).json().inconsistent;

  const isDigests = (url: URL) => url.pathname.endsWith('/digests');

  /** An answer with a header and a body of the liar's own. */
  const says =
    (status: number, headers: Record<string, string | number>, body: Buffer | string = ''): Lie =>
    (_request, response) => {
      response.writeHead(status, headers).end(body);
      return true;
    };

  test('a peer that tells the truth, and learns of which trace it is a part', async () => {
    const answer = await replicate();
    expect(answer.status).toBe(201);
    for (const { headers } of peer.requests) expect(headers.traceparent).toBe(TRACE);
    expect((await content()).equals(peer.bytes.subarray(0, SIZE))).toBe(true);
  });

  test('what was hashed as it came is not read again for the proof, nor its digests by groups', async () => {
    const answer = await replicate({ mode: 'full' });
    expect(answer.status).toBe(201);
    const sizes = peer.requests
      .filter(({ path }) => path.endsWith('/digests'))
      .map(({ query }) => query.get('block_size'));
    expect(sizes).toEqual([String(BLOCK), String(BLOCK)]);
  });

  const refused: [string, Lie][] = [
    [
      'no token',
      says(
        401,
        { 'content-type': 'application/problem+json' },
        '{"code":"unauthenticated","detail":"no"}',
      ),
    ],
    ['no such device', says(404, {}, 'not here')],
    [
      'a whole device in place of digests',
      says(200, { 'content-length': SIZE }, Buffer.alloc(SIZE)),
    ],
    [
      'an endless error',
      (_request, response) => {
        response.writeHead(404);
        const timer = setInterval(() => response.write(Buffer.alloc(2 ** 20)), 1);
        response.on('close', () => clearInterval(timer));
        return true;
      },
    ],
    [
      'digests of no length',
      (_request, response, url) => {
        if (!isDigests(url)) return false;
        response.writeHead(200, { 'transfer-encoding': 'chunked' });
        const timer = setInterval(() => response.write(Buffer.alloc(2 ** 20)), 1);
        response.on('close', () => clearInterval(timer));
        return true;
      },
    ],
    [
      'fewer digests',
      (_request, response, url) => {
        if (!isDigests(url)) return false;
        response.writeHead(200, { 'content-length': 32 }).end(Buffer.alloc(32));
        return true;
      },
    ],
    [
      'the whole device in place of a range',
      (_request, response, url) => {
        if (isDigests(url)) return false;
        response.writeHead(200, { 'content-length': 2 * SIZE }).end(peer.bytes);
        return true;
      },
    ],
    [
      'another range',
      (request, response, url) => {
        if (isDigests(url)) return false;
        const { first, last } = rangeOf(request, SIZE);
        const range = `bytes ${first + 1}-${last + 1}/${SIZE}`;
        response.writeHead(206, { 'content-length': last + 1 - first, 'content-range': range });
        response.end(peer.bytes.subarray(first, last + 1));
        return true;
      },
    ],
    [
      'a longer body',
      (request, response, url) => {
        if (isDigests(url)) return false;
        const { first, last, range } = rangeOf(request, SIZE);
        const body = Buffer.concat([peer.bytes.subarray(first, last + 1), Buffer.alloc(1000)]);
        response
          .writeHead(206, { 'content-length': body.length, 'content-range': range })
          .end(body);
        return true;
      },
    ],
    [
      'a shorter body',
      (request, response, url) => {
        if (isDigests(url)) return false;
        const { first, last, range } = rangeOf(request, SIZE);
        const body = peer.bytes.subarray(first, last);
        response
          .writeHead(206, { 'content-length': body.length, 'content-range': range })
          .end(body);
        return true;
      },
    ],
  ];

  test.each(refused)('%s: refused, and nothing is written', async (_what, lie) => {
    peer.lie = lie;
    const answer = await replicate();
    const { replication } = expectProblem(answer, 502, 'peer_refused') as unknown as {
      replication: object;
    };
    expect(replication).toMatchObject({ status: 'failed', consistency: 'unchanged' });
    expect((await content()).equals(before)).toBe(true);
    expect(await inconsistent()).toEqual([]);
  });

  test('a redirect is not followed', async () => {
    const { port } = elsewhere.address() as AddressInfo;
    for (const status of [301, 302, 307, 308]) {
      peer.lie = says(status, { location: `http://127.0.0.1:${port}/devices/dax0.0/digests` });
      expectProblem(await replicate(), 502, 'peer_refused');
    }
    expect(strayed).toBe(0);
    expect((await content()).equals(before)).toBe(true);
  });

  test('content that is not what its digest says is not written', async () => {
    // The second block is wrong, always.
    peer.lie = (request, response, url) => {
      if (isDigests(url)) return false;
      const { first, last, range } = rangeOf(request, SIZE);
      const body = Buffer.from(peer.bytes.subarray(first, last + 1));
      if (first <= BLOCK && last >= BLOCK) body[BLOCK - first] = ~(body[BLOCK - first] as number);
      response.writeHead(206, { 'content-length': body.length, 'content-range': range }).end(body);
      return true;
    };
    const answer = await replicate();
    const { replication, detail } = expectProblem(answer, 502, 'digest_mismatch') as unknown as {
      replication: Record<string, unknown>;
      detail: string;
    };
    expect(detail).toContain(`${BLOCK} bytes at offset ${BLOCK} of dax0.0`);
    expect(replication).toMatchObject({ status: 'failed', consistency: 'inconsistent' });
    const after = await content();
    expect(after.subarray(BLOCK, 2 * BLOCK).equals(before.subarray(BLOCK, 2 * BLOCK))).toBe(true);
    // All others are either as they were, or proven.
    for (let at = 0; at < SIZE; at += BLOCK) {
      const block = after.subarray(at, at + BLOCK);
      const proven = block.equals(peer.bytes.subarray(at, at + BLOCK));
      expect(proven || block.equals(before.subarray(at, at + BLOCK))).toBe(true);
    }
    expect(await inconsistent()).toEqual([{ offset: 0, size: SIZE, replication: replication.id }]);
  });

  const slow: [string, Lie][] = [
    ['that says nothing', () => true],
    [
      'that sends a byte now and then',
      (_request, response, url) => {
        if (isDigests(url)) return false;
        const { first, last, range } = rangeOf(_request, SIZE);
        response.writeHead(206, { 'content-length': last + 1 - first, 'content-range': range });
        const timer = setInterval(() => response.write(Buffer.alloc(1)), 100);
        response.on('close', () => clearInterval(timer));
        return true;
      },
    ],
    [
      'that closes each connection',
      (request) => {
        request.socket.destroy();
        return true;
      },
    ],
    ['that is always busy', says(503, { 'retry-after': '99999' })],
  ];

  deepTest.each(slow)('a peer %s is waited for until the timeout', async (_what, lie) => {
    peer.lie = lie;
    const answer = await replicate({ timeout_ms: 2500 });
    const { detail } = expectProblem(answer, 502, 'peer_unreachable');
    expect(detail).toMatch(/^The peer liar has not answered since .*timeout_ms \(\d+\) has passed/);
    expect((await content()).equals(before)).toBe(true);
  });

  /** Sends a digest's bytes every 200 ms, at most this many in each answer. */
  const drips = (most: number): Lie => {
    return (_request, response, url) => {
      if (!isDigests(url)) return false;
      const all = peer.digestsOf(url);
      response.writeHead(200, { 'content-length': all.length });
      let at = 0;
      const timer = setInterval(() => {
        if (at === all.length) response.end();
        else if (at === most * 32) response.destroy();
        else response.write(all.subarray(at, at + 32));
        at += 32;
      }, 200);
      response.on('close', () => clearInterval(timer));
      return true;
    };
  };

  deepTest.each([
    ['that has much to read for each digest', 1000],
    ['that loses its connection after each digest', 1],
  ])('a peer %s is waited for until it is through', async (_what, most) => {
    peer.lie = drips(most);
    const answer = await replicate({ size: SIZE / 2, timeout_ms: 30_000 });
    expect(answer.status).toBe(201);
  });

  test('a source that changes all the while', async () => {
    peer.lie = (_request, _response, url) => {
      // Between each digest and its content.
      if (isDigests(url)) queueMicrotask(() => peer.bytes.writeUInt32LE(changes++, 5 * BLOCK));
      return false;
    };
    let changes = 0;
    const { detail } = expectProblem(await replicate(), 502, 'source_changing');
    expect(detail).toContain(`After 5 rounds 1 blocks of ${BLOCK} bytes differ again`);
    expect(detail).toContain(`at offsets ${5 * BLOCK} of dax0.0`);
  });

  test('a source that changes twice, and then rests, ends equal', async () => {
    let changes = 0;
    peer.lie = (_request, _response, url) => {
      if (!isDigests(url) && changes < 2) queueMicrotask(() => peer.bytes.fill(++changes, 0, 100));
      return false;
    };
    const answer = await replicate();
    expect(answer.status).toBe(201);
    const { round, blocks } = JSON.parse(answer.body.toString());
    expect(round).toBeGreaterThan(1);
    expect(blocks.equal + blocks.copied).toBe(blocks.total);
    expect((await content()).equals(peer.bytes.subarray(0, SIZE))).toBe(true);
  });

  test('a client names a peer, and nothing else', async () => {
    for (const name of ['nobody', peer.url, '../liar', 'LIAR', '']) {
      const answer = await replicate({ peer: name });
      if (name === '') expectProblem(answer, 400, 'invalid_request');
      else expect(expectProblem(answer, 422, 'unknown_peer').errors?.[0]?.pointer).toBe('/peer');
    }
    expectProblem(await replicate({ url: peer.url }), 400, 'invalid_request');
    expectProblem(await replicate({ peer: 'x'.repeat(64) }), 400, 'invalid_request');
    // A device's name becomes a part of a path at the peer.
    const names = ['..', '.', '../../etc/passwd?x=y#z', 'a/b', '/dev/..', '/dev/', '%2e%2e', '\n'];
    for (const name of [...names, 'x'.repeat(65), 'x'.repeat(1_000_000)]) {
      for (const field of ['src_device_name', 'dst_device_name']) {
        const answer = await replicate({ [field]: name });
        const problem = expectProblem(answer, 400, 'invalid_request');
        expect(problem.errors?.[0]?.pointer).toBe(`/${field}`);
      }
    }
    expect(peer.requests).toEqual([]);
  });

  test("a liar's words are cut, wherever they stand", async () => {
    const long = 'x'.repeat(500_000);
    const json = { 'content-type': 'application/problem+json' };
    for (const status of [404, 503]) {
      for (const problem of [
        { code: long, detail: 'd' },
        { code: 'not_found', detail: long },
        { code: 'not_found', detail: { long } },
        { code: '<b>', detail: 'd' },
      ]) {
        peer.lie = says(status, json, JSON.stringify(problem));
        const answer = await replicate(status === 503 ? { timeout_ms: 1000 } : {});
        expectProblem(answer, 502, status === 404 ? 'peer_refused' : 'peer_unreachable');
        expect(answer.body.length).toBeLessThan(4000);
      }
    }
  });
});
