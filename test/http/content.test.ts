// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import supertest from 'supertest';
import { MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { crc32cText } from '../support/crc32c.ts';
import { runs } from '../support/depth.ts';
import { noise } from '../support/random.ts';
import { WAYS } from '../support/ways.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const MIB = 2 ** 20;
const SIZE = 8 * MIB;
const CONTENT = '/devices/dax0.0/content';

describe.each(WAYS)('%s', (_way, pastNodeFrom) => {
  let app: TestApp;
  let port: number;
  const bytes = noise(SIZE);
  beforeAll(async () => {
    app = await startTestApp({
      environment: { DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}` },
      parentDir: MEMORY_DIR,
      pastNodeFrom,
    });
    port = await app.listen();
    const put = await app.ask({ method: 'PUT', url: CONTENT, payload: bytes });
    expect(JSON.parse(put.body.toString())).toMatchObject({
      bytes_written: SIZE,
      crc32c: crc32cText(bytes),
    });
  });
  afterAll(() => app.close());

  describe('GET content', () => {
    test('all of it', async () => {
      const answer = await exchange(port, request(`GET ${CONTENT}`));
      expect(answer.status).toBe(200);
      expect(answer.headers).toMatchObject({
        'content-type': 'application/octet-stream',
        'content-length': String(SIZE),
        'accept-ranges': 'bytes',
      });
      expect(answer.headers).not.toHaveProperty('content-range');
      expect(answer.body.equals(bytes)).toBe(true);
    });

    test.each([
      ['bytes=0-0', 0, 0],
      ['bytes=0-', 0, SIZE - 1],
      ['bytes=1-262144', 1, 262_144],
      ['bytes=262143-1048577', 262_143, 1_048_577],
      [`bytes=${SIZE - 1}-`, SIZE - 1, SIZE - 1],
      [`bytes=${SIZE - 10}-${SIZE + 100}`, SIZE - 10, SIZE - 1],
      ['bytes=-7', SIZE - 7, SIZE - 1],
      [`bytes=-${SIZE * 2}`, 0, SIZE - 1],
      ['BYTES=5-9', 5, 9],
      ['bytes=5-99999999999999999999999', 5, SIZE - 1],
    ])('Range: %s', async (range, first, last) => {
      const answer = await exchange(port, request(`GET ${CONTENT}`, { range }));
      app.conformance.check('GET', CONTENT, answer);
      expect(answer.status).toBe(206);
      expect(answer.headers['content-range']).toBe(`bytes ${first}-${last}/${SIZE}`);
      expect(Number(answer.headers['content-length'])).toBe(last - first + 1);
      expect(answer.body.equals(bytes.subarray(first, last + 1))).toBe(true);
    });

    test.each([
      ...['bytes=0-1,3-4', 'bytes=9-5', 'bytes=', 'bytes=-', 'bytes=a-b', 'bytes=1', 'items=0-1'],
      ...['bytes=0x0-0x1', 'bytes = 0-1', 'bytes=1-2-3', '0-1'],
    ])('Range: %s is ignored', async (range) => {
      const answer = await exchange(port, request(`GET ${CONTENT}`, { range }));
      app.conformance.check('GET', CONTENT, answer);
      expect({ status: answer.status, size: answer.body.length }).toEqual({
        status: 200,
        size: SIZE,
      });
    });

    test('If-Range never holds, for there is nothing to compare', async () => {
      const headers = { range: 'bytes=0-1', 'if-range': '"etag"' };
      expect((await app.ask({ url: CONTENT, headers })).status).toBe(200);
    });
  });

  describe('PUT content', () => {
    const read = async (offset: number, size: number) => {
      const range = `bytes=${offset}-${offset + size - 1}`;
      const answer = await app.ask({ url: '/devices/dax1.0/content', headers: { range } });
      return answer.body;
    };
    const chunk = (body: Buffer | string) =>
      Buffer.concat([
        Buffer.from(`${Buffer.byteLength(body).toString(16)}\r\n`),
        Buffer.from(body),
        Buffer.from('\r\n'),
      ]);
    const chunked = (offset: number) =>
      request(`PUT /devices/dax1.0/content?offset=${offset}`, { 'transfer-encoding': 'chunked' });

    test.each(['0', '4096', '0x1001', '4KiB', '1MiB'])('offset=%s', async (offset) => {
      const part = noise(300_001);
      const response = await supertest(app.http.server)
        .put(`/devices/dax1.0/content?offset=${offset}`)
        .set('content-type', 'application/octet-stream')
        .send(part);
      expect(response.status).toBe(200);
      expect(response.body).toMatchObject({ bytes_written: part.length, crc32c: crc32cText(part) });
      const at = { '0x1001': 4097, '4KiB': 4096, '1MiB': MIB }[offset] ?? Number(offset);
      expect((await read(at, part.length)).equals(part)).toBe(true);
    });

    test('of no type, in chunks of any size, up to the very end', async () => {
      const part = noise(1_000_003);
      const offset = SIZE - part.length;
      const wire = new Wire(port).send(chunked(offset));
      for (let at = 0, size = 1; at < part.length; at += size, size = (size * 7) % 65_521) {
        wire.send(chunk(part.subarray(at, at + size)));
      }
      const answer = await wire.send('0\r\n\r\n').answer();
      expect(JSON.parse(answer.body.toString())).toMatchObject({
        bytes_written: part.length,
        crc32c: crc32cText(part),
      });
      expect((await read(offset, part.length)).equals(part)).toBe(true);
      wire.end();
    });

    test('in chunks past the end: 413, what fits is written and nothing past it', async () => {
      const part = noise(400_000);
      const room = 300_000;
      const before = await read(0, SIZE - room);
      const wire = new Wire(port).send(chunked(SIZE - room));
      wire.send(chunk(part.subarray(0, 200_000))).send(chunk(part.subarray(200_000)));
      expectProblem(await wire.answer(), 413, 'payload_too_large');
      await wire.closed;
      expect((await read(SIZE - room, room)).equals(part.subarray(0, room))).toBe(true);
      expect((await read(0, SIZE - room)).equals(before)).toBe(true);
      const one = new Wire(port).send(chunked(SIZE)).send(chunk('x'));
      expectProblem(await one.answer(), 413, 'payload_too_large');
      const none = new Wire(port).send(chunked(SIZE)).send('0\r\n\r\n');
      expect(JSON.parse((await none.answer()).body.toString()).bytes_written).toBe(0);
      for (const each of [one, none]) each.end();
    });

    test('Content-Range is no way to say where', async () => {
      const headers = { 'content-range': 'bytes 0-3/4' };
      const answer = await app.ask({ method: 'PUT', url: CONTENT, payload: 'abcd', headers });
      expectProblem(answer, 400, 'invalid_request');
    });

    test('many at once, up and down, each with its own bytes', async () => {
      const part = 100_000;
      await Promise.all(
        Array.from({ length: 60 }, async (_, index) => {
          const own = noise(part);
          const offset = index * part;
          for (let round = 0; round < runs(60, 1); round++) {
            const put = request(`PUT /devices/dax1.0/content?offset=${offset}`, {}, own);
            const written = await exchange(port, put);
            expect(JSON.parse(written.body.toString()).crc32c).toBe(crc32cText(own));
            const range = { range: `bytes=${offset}-${offset + part - 1}` };
            const got = await exchange(port, request('GET /devices/dax1.0/content', range));
            expect(got.body.equals(own)).toBe(true);
          }
        }),
      );
    });

    test('many at once to the same place: one whole body is left', async () => {
      const bodies = Array.from({ length: 8 }, () => noise(700_000));
      await Promise.all(
        bodies.map((body) => exchange(port, request('PUT /devices/dax1.0/content', {}, body))),
      );
      const left = await read(0, 700_000);
      expect(bodies.filter((body) => body.equals(left))).toHaveLength(1);
    });

    test('300 that wait for their turn keep nobody from reading, and all get it', async () => {
      const blocker = await app.block('dax1.0');
      const wires = Array.from({ length: 300 }, () =>
        new Wire(port).send(request('PUT /devices/dax1.0/content', {}, 'x')),
      );
      for (let i = 0; i < 20; i++) {
        expect((await app.ask({ url: CONTENT, headers: { range: 'bytes=0-99' } })).status).toBe(
          206,
        );
        expect((await app.ask({ url: '/devices/dax1.0/checksum' })).status).toBe(200);
      }
      await blocker.release();
      for (const wire of wires) {
        expect((await wire.answer()).status).toBe(200);
        wire.end();
      }
    });
  });

  describe('what else there is', () => {
    test.each([
      '/devices',
      '/devices/dax0.0',
      '/engines',
      '/version',
      '/livez',
      '/readyz',
      '/metrics',
      '/transfers',
    ])('GET %s is as documented', async (url) => {
      expect(app.conformance.operation('GET', url)).toBeDefined();
      const answer = await app.ask({ url });
      expect(answer.status).toBe(200);
    });

    test('metrics of the contract are all there', async () => {
      await app.post({ device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 });
      const { payload } = await app.inject({ url: '/metrics' });
      for (const name of [
        ...['transfers_total', 'transfer_bytes_total', 'transfer_phase_seconds', 'queue_depth'],
        ...['transfers_in_flight', 'channel_bytes_total', 'channel_errors_total', 'build_info'],
        'device_size_bytes',
      ]) {
        expect(payload).toContain(`# HELP dmad_${name} `);
        expect(payload).toContain(`# TYPE dmad_${name} `);
      }
      expect(payload).toMatch(
        /dmad_transfers_total\{operation="copy",engine="cpu",status="succeeded"\} [1-9]/,
      );
      expect(payload).toContain('nodejs_');
    });
  });
});
