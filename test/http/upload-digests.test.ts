// SPDX-License-Identifier: Apache-2.0
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { type Answer, expectProblem } from '../support/conformance.ts';
import { crc32c } from '../support/crc32c.ts';
import { request, Wire } from '../support/wire.ts';

const CONTENT = '/devices/dax0.0/content';
const HELLO = Buffer.from('hello');
/** Several of the buffers that an upload goes through, and a part of one. */
const LARGE = Buffer.alloc(700_001, 'abcdefg');

const sha256 = (bytes: Buffer) =>
  `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`;
const crc = (bytes: Buffer) => {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(crc32c(bytes));
  return `crc32c=:${value.toString('base64')}:`;
};

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ environment: { DMAD_UPLOAD_IDLE_SECONDS: '1' } });
});
afterAll(() => app.close());

const put = (payload: Buffer, digest: string) =>
  app.ask({ method: 'PUT', url: CONTENT, payload, headers: { 'content-digest': digest } });
const read = async (size: number) =>
  (await app.ask({ url: CONTENT, headers: { range: `bytes=0-${size - 1}` } })).body;
const written = (answer: Answer) => JSON.parse(answer.body.toString()).bytes_written;

describe('Content-Digest', () => {
  test.each([
    ['SHA-256', HELLO, sha256(HELLO)],
    ['SHA-256 of many pieces', LARGE, sha256(LARGE)],
    ['CRC-32C', LARGE, crc(LARGE)],
    ['both, and one that is not known', HELLO, `md5=:AAAA:, ${crc(HELLO)},${sha256(HELLO)};x=1`],
    ['of nothing', Buffer.alloc(0), `${sha256(Buffer.alloc(0))}, ${crc(Buffer.alloc(0))}`],
  ])('that fits: %s', async (_name, bytes, digest) => {
    const answer = await put(bytes, digest);
    expect(answer.status).toBe(200);
    expect(written(answer)).toBe(bytes.length);
  });

  test.each([
    ['SHA-256', LARGE, sha256(HELLO)],
    ['CRC-32C', LARGE, crc(HELLO)],
    ['one of both', HELLO, `${sha256(HELLO)}, ${crc(LARGE)}`],
    ['of nothing', Buffer.alloc(0), sha256(HELLO)],
  ])('that does not fit: %s: 422, and the bytes are written', async (_name, bytes, digest) => {
    await app.ask({ method: 'PUT', url: CONTENT, payload: Buffer.alloc(bytes.length, 'z') });
    const answer = await put(bytes, digest);
    expect(expectProblem(answer, 422, 'digest_mismatch').detail).toMatch(/is written/);
    expect(written(answer)).toBe(bytes.length);
    if (bytes.length > 0) expect((await read(bytes.length)).equals(bytes)).toBe(true);
  });

  test.each([
    'nonsense',
    'sha-256=abc',
    'sha-256=:AAAA:',
    'crc32c=:AAAAAAAA:',
    'md5=:AAAA:',
    'sha-512=:AAAA:, md5=:AAAA:',
  ])('that cannot be checked: %s: 400, and nothing is written', async (digest) => {
    const as = Buffer.from('as it was');
    await app.ask({ method: 'PUT', url: CONTENT, payload: as });
    const answer = await put(HELLO, digest);
    expectProblem(answer, 400, 'invalid_request');
    expect(answer.headers['want-content-digest']).toContain('sha-256');
    expect(written(answer)).toBe(0);
    expect((await read(as.length)).equals(as)).toBe(true);
  });

  test('many at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) =>
        put(i % 2 === 0 ? LARGE : HELLO, sha256(i % 4 < 2 ? LARGE : HELLO)),
      ),
    );
    answers.forEach(({ status }, i) => {
      expect(status).toBe((i % 2 === 0) === i % 4 < 2 ? 200 : 422);
    });
  });
});

describe('the thread that hashes a body ends', () => {
  /** Begins an upload, and ends the thread that hashes it. */
  async function uploadWhoseThreadEnds(): Promise<Wire> {
    const posted = jest.spyOn(Worker.prototype, 'postMessage');
    const wire = new Wire(await app.listen());
    const fields = { 'transfer-encoding': 'chunked', 'content-digest': sha256(LARGE) };
    wire.send(request(`PUT ${CONTENT}`, fields));
    wire.send(`${LARGE.length.toString(16)}\r\n`).send(LARGE.subarray(0, LARGE.length / 2));
    while (posted.mock.contexts.length === 0) await sleep(10);
    const [worker] = posted.mock.contexts as Worker[];
    await worker?.terminate();
    posted.mockRestore();
    return wire;
  }

  test("while it arrives: that is the server's fault, and the next one is hashed", async () => {
    const wire = await uploadWhoseThreadEnds();
    wire.send(LARGE.subarray(LARGE.length / 2)).send('\r\n0\r\n\r\n');
    const answer = await wire.answer();
    expect(expectProblem(answer, 500, 'internal_error').detail).toMatch(/SHA-256.*again/);
    expect(written(answer)).toBeGreaterThan(0);
    expect((await put(LARGE, sha256(LARGE))).status).toBe(200);
    expect((await put(LARGE, sha256(HELLO))).status).toBe(422);
    wire.end();
  });
});

describe('a problem says how much was written', () => {
  test.each([
    ['chunks that cannot be read', 'zzz\r\n', 400, 'invalid_request'],
    ['a body that stalls', '', 408, 'request_timeout'],
    ['a body that runs past the end', null, 413, 'payload_too_large'],
  ] as const)('%s', async (_name, rest, status, code) => {
    const offset = rest === null ? 2 ** 20 - 5 : 0;
    const wire = new Wire(await app.listen());
    const fields = { 'transfer-encoding': 'chunked' };
    wire.send(request(`PUT ${CONTENT}?offset=${offset}`, fields)).send('5\r\nhello\r\n');
    await sleep(100);
    wire.send(rest ?? '1\r\n!\r\n0\r\n\r\n');
    const answer = await wire.answer();
    expectProblem(answer, status, code);
    expect(written(answer)).toBe(5);
    if (rest === null) wire.end();
    else expect(answer.headers.connection).toBe('close');
    await wire.closed;
  });

  test('that is known to be too long', async () => {
    const answer = await app.ask({
      method: 'PUT',
      url: `${CONTENT}?offset=1048575`,
      payload: HELLO,
    });
    expectProblem(answer, 413, 'payload_too_large');
    expect(written(answer)).toBe(0);
  });
});
