// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import supertest from 'supertest';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const MIB = 2 ** 20;
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };

describe('errors, each provoked', () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startTestApp();
  });
  afterAll(() => app.close());

  const post = (body: unknown, headers: Record<string, string> = {}) =>
    app.ask({ method: 'POST', url: '/transfers', payload: body as object, headers });
  const json = (payload: string | Buffer, type = 'application/json') =>
    app.ask({ method: 'POST', url: '/transfers', payload, headers: { 'content-type': type } });

  describe('404 not_found', () => {
    test.each([
      ['GET', '/nowhere'],
      ['POST', '/transfers/x/y/z'],
      ['GET', '/transfers/'],
      ['GET', '/Transfers'],
      ['GET', '//transfers'],
      ['GET', '/transfers/0195c0de-0000-7000-8000-000000000000'],
      ['GET', '/transfers/none/events'],
      ['POST', '/transfers/none/cancel'],
      ['GET', '/devices/dax9.9'],
      ['GET', '/devices/dax9.9/content'],
      ['GET', '/devices/dax9.9/checksum'],
      ['PUT', '/devices/dax9.9/content'],
      ['GET', '/devices/..%2f..%2fetc%2fpasswd/content'],
      ['GET', '/devices/%2Fetc%2Fpasswd'],
      ['DELETE', '/nowhere'],
      ['GET', '/docs/static/none.js'],
      ['GET', '/docs/static/..%2f..%2fpackage.json'],
    ] as const)('%s %s', async (method, url) => {
      expectProblem(await app.ask({ method, url }), 404, 'not_found');
    });
  });

  test('a device may be named by its path, in URLs too', async () => {
    const answer = await app.ask({ url: '/devices/%2Fdev%2Fdax0.0' });
    expect(answer.status).toBe(200);
  });

  describe('405 method_not_allowed, with Allow', () => {
    test.each([
      ['DELETE', '/transfers', 'GET, HEAD, POST'],
      ['PUT', '/transfers', 'GET, HEAD, POST'],
      ['PATCH', '/transfers', 'GET, HEAD, POST'],
      ['PUT', '/transfers/x', 'GET, HEAD, PATCH'],
      ['POST', '/devices/dax0.0/content', 'GET, HEAD, PUT'],
      ['GET', '/transfers/x/cancel', 'POST'],
      ['HEAD', '/transfers/x/cancel', 'POST'],
      ['OPTIONS', '/transfers', 'GET, HEAD, POST'],
      ['POST', '/devices/dax9.9', 'GET, HEAD'],
      ['POST', '/livez', 'GET, HEAD'],
      ['POST', '/openapi.json', 'GET, HEAD'],
      ['DELETE', '/metrics', 'GET, HEAD'],
      ['DELETE', `/devices/${'x'.repeat(101)}`, 'GET, HEAD'],
      ['PUT', `/transfers/${'x'.repeat(16_000)}`, 'GET, HEAD, PATCH'],
      // Not a transfer of that name.
      ['GET', '/transfers/batch', 'POST'],
      ['HEAD', '/transfers/batch', 'POST'],
      ['PATCH', '/transfers/batch', 'POST'],
    ] as const)('%s %s', async (method, url, allow) => {
      const answer = await app.ask({ method, url });
      expect(answer.status).toBe(405);
      if (method !== 'HEAD') expectProblem(answer, 405, 'method_not_allowed');
      expect(answer.headers.allow).toBe(allow);
    });
  });

  describe('406 not_acceptable', () => {
    test.each([
      ['GET', '/transfers', 'text/html'],
      ['GET', '/devices', 'application/json;q=0'],
      ['GET', '/events', 'application/json'],
      ['GET', '/metrics', 'application/json'],
      ['GET', '/devices/dax0.0/content', 'application/json'],
      ['GET', '/transfers/x', 'text/plain, image/*'],
    ] as const)('%s %s with Accept: %s', async (method, url, accept) => {
      expectProblem(await app.ask({ method, url, headers: { accept } }), 406, 'not_acceptable');
    });

    test.each([
      ['/devices', '*/*'],
      ['/devices', 'application/*'],
      ['/devices', 'text/html, */*;q=0.1'],
      ['/devices', 'application/json; charset=utf-8'],
      ['/devices', 'application/json, text/plain'],
      ['/metrics', 'text/plain;version=0.0.4'],
      ['/metrics', 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5'],
      ['/metrics', 'application/openmetrics-text; version=0.0.1'],
      ['/metrics', 'application/openmetrics-text;version=1.0.0;escaping=allow-utf-8'],
      ['/docs/', 'text/html'],
    ])('not for %s with Accept: %s', async (url, accept) => {
      expect((await app.ask({ url, headers: { accept } })).status).toBe(200);
    });
  });

  describe('413 payload_too_large', () => {
    const body = (size: number) => {
      const text = JSON.stringify(COPY);
      return text + ' '.repeat(size - text.length);
    };

    test('a JSON body of 1 MiB is taken, one byte more is not', async () => {
      expect((await json(body(MIB))).status).toBe(201);
      expectProblem(await json(body(MIB + 1)), 413, 'payload_too_large');
    });

    test('an upload that would run past the end writes nothing', async () => {
      const url = `/devices/dax1.0/content?offset=${MIB - 10}`;
      const before = await checksum('dax1.0');
      const answer = await app.ask({ method: 'PUT', url, payload: Buffer.alloc(11, 1) });
      expectProblem(answer, 413, 'payload_too_large');
      expect(await checksum('dax1.0')).toBe(before);
    });

    test('from the very end nothing fits', async () => {
      const url = `/devices/dax1.0/content?offset=${MIB}`;
      const answer = await app.ask({ method: 'PUT', url, payload: 'x' });
      expectProblem(answer, 413, 'payload_too_large');
      const empty = await app.ask({ method: 'PUT', url });
      expect(empty.status).toBe(200);
      expect(JSON.parse(empty.body.toString())).toMatchObject({
        bytes_written: 0,
        crc32c: '00000000',
      });
    });
  });

  describe('415 unsupported_media_type', () => {
    test.each([
      ['text/plain'],
      ['application/x-www-form-urlencoded'],
      ['application/octet-stream'],
      ['application/xml'],
      ['multipart/form-data; boundary=x'],
    ])('POST /transfers as %s', async (type) => {
      expectProblem(await json(JSON.stringify(COPY), type), 415, 'unsupported_media_type');
    });

    test('a body of no type', async () => {
      const answer = await supertest(app.http.server)
        .post('/transfers')
        .set('content-type', '')
        .send(JSON.stringify(COPY));
      expect(answer.status).toBe(415);
      expect(answer.body.code).toBe('unsupported_media_type');
    });

    test.each([['application/json; charset=utf-8'], ['Application/JSON']])(
      '%s is JSON',
      async (type) => {
        expect((await json(JSON.stringify(COPY), type)).status).toBe(201);
      },
    );

    test.each([['text/plain'], ['application/json'], ['multipart/form-data']])(
      'an upload as %s',
      async (type) => {
        const answer = await app.ask({
          method: 'PUT',
          url: '/devices/dax0.0/content',
          payload: 'bytes',
          headers: { 'content-type': type },
        });
        expectProblem(answer, 415, 'unsupported_media_type');
      },
    );

    test('an upload of no bytes has no type', async () => {
      const fields = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '0' };
      const answer = await exchange(
        await app.listen(),
        request('PUT /devices/dax0.0/content', fields),
      );
      expect(answer.status).toBe(200);
    });

    test.each([
      ['of no bytes has no type', '0\r\n\r\n', 200],
      ['of some bytes has one', '5\r\nbytes\r\n0\r\n\r\n', 415],
    ])('an upload in chunks %s', async (_what, body, status) => {
      const wire = new Wire(await app.listen());
      const fields = { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' };
      wire.send(request('PUT /devices/dax0.0/content', fields));
      await sleep(50);
      const answer = await wire.send(body).answer();
      if (status !== 200) expectProblem(answer, 415, 'unsupported_media_type');
      else expect(JSON.parse(answer.body.toString())).toMatchObject({ bytes_written: 0 });
      wire.end();
    });

    test('an upload of the wrong type that waits to be told to go on is refused at once', async () => {
      const wire = new Wire(await app.listen());
      const fields = { 'content-type': 'text/plain', 'transfer-encoding': 'chunked' };
      wire.send(request('PUT /devices/dax0.0/content', { ...fields, expect: '100-continue' }));
      expectProblem(await wire.answer(), 415, 'unsupported_media_type');
      wire.end();
    });

    test('POST /transfers of no bytes lacks its fields, whatever its type', async () => {
      const fields = { 'content-type': 'application/x-www-form-urlencoded', 'content-length': '0' };
      const answer = await exchange(await app.listen(), request('POST /transfers', fields));
      expectProblem(answer, 400, 'invalid_request');
    });

    test('a body with a content coding', async () => {
      const coded = { 'content-encoding': 'gzip' };
      expectProblem(await post(COPY, coded), 415, 'unsupported_media_type');
    });
  });

  describe('416 range_not_satisfiable, with the size', () => {
    test.each([[`bytes=${MIB}-`], [`bytes=${MIB}-${MIB + 5}`], ['bytes=-0'], ['bytes=1e9-'], ['']])(
      '%s',
      async (range) => {
        const answer = await app.ask({ url: '/devices/dax0.0/content', headers: { range } });
        if (range === '' || range.includes('e9')) {
          // Not a range at all, so ignored.
          expect(answer.status).toBe(200);
          return;
        }
        expectProblem(answer, 416, 'range_not_satisfiable');
        expect(answer.headers['content-range']).toBe(`bytes */${MIB}`);
      },
    );
  });

  describe('421 misdirected_request', () => {
    test.each([
      'example.com',
      'localhost.example.com',
      '169.254.169.254',
      '0.0.0.0:8080',
      'dax0.0',
      'user@localhost',
      'localhost:port',
    ])('Host: %s', async (host) => {
      const answer = await app.ask({ url: '/livez', headers: { host } });
      expectProblem(answer, 421, 'misdirected_request');
    });

    test.each([
      'localhost',
      'localhost:',
      'LOCALHOST:1',
      '127.0.0.1:8080',
      '127.1.2.3',
      '[::1]:80',
    ])('not for Host: %s', async (host) => {
      expect((await app.ask({ url: '/livez', headers: { host } })).status).toBe(200);
    });
  });

  describe('422', () => {
    test.each([
      ['unknown_device', { device_name: '/etc/passwd' }, ['/device_name']],
      ['unknown_device', { device_name: '/dev/mem' }, ['/device_name']],
      ['unknown_device', { device_name: '/dev/../etc/shadow' }, ['/device_name']],
      ['unknown_device', { device_name: '/dev//dax0.0' }, ['/device_name']],
      ['unknown_device', { device_name: 'dax0.0\0' }, ['/device_name']],
      ['unknown_device', { device_name: 'DAX0.0' }, ['/device_name']],
      ['unknown_device', { device_name: '' }, ['/device_name']],
      ['unknown_device', { device_name: '__proto__' }, ['/device_name']],
      ['unknown_device', { device_name: 'dax0.00' }, ['/device_name']],
      ['unknown_device', { device_name: '/dev/dev/dax0.0' }, ['/device_name']],
      ['unknown_device', { dst_device_name: 'dax7.0' }, ['/dst_device_name']],
      ['out_of_range', { src_offset: MIB }, ['/src_offset']],
      ['out_of_range', { src_offset: MIB - 1 }, ['/size']],
      ['out_of_range', { dst_offset: MIB - 4095 }, ['/size']],
      ['out_of_range', { dst_offset: 2 ** 53 - 1 }, ['/dst_offset']],
      ['out_of_range', { size: 2 ** 53 - 1, dst_device_name: 'dax1.0' }, ['/size']],
      ['overlapping_ranges', { dst_offset: 0 }, ['/dst_offset']],
      ['overlapping_ranges', { dst_offset: 4095 }, ['/dst_offset']],
      ['overlapping_ranges', { src_offset: 4096, dst_offset: 1 }, ['/dst_offset']],
      ['overlapping_ranges', { dst_offset: 1, dst_device_name: '/dev/dax0.0' }, ['/dst_offset']],
      ['engine_unavailable', { engine: 'dma' }, ['/engine']],
    ] as const)('%s for %j', async (code, change, pointers) => {
      expectProblem(await post({ ...COPY, ...change }), 422, code, [...pointers]);
      expectProblem(await post({ ...COPY, ...change, dry_run: true }), 422, code, [...pointers]);
    });

    test.each([
      ['out_of_range', [1, MIB, 1], '/segments/1/dst_offset'],
      ['out_of_range', [MIB - 1, 0, 2], '/segments/1/size'],
      ['overlapping_ranges', [10, 11, 2], '/segments/1/dst_offset'],
    ] as const)('%s in a segment', async (code, [src_offset, dst_offset, size], pointer) => {
      const good = { src_offset: 0, dst_offset: 1, size: 1 };
      const segments = [good, { src_offset, dst_offset, size }, good];
      expectProblem(await post({ device_name: 'dax0.0', segments }), 422, code, [pointer]);
    });

    test('pieces that touch but do not overlap are taken', async () => {
      expect((await post({ ...COPY, dst_offset: 4096 })).status).toBe(201);
      expect((await post({ ...COPY, src_offset: 4096, dst_offset: 0 })).status).toBe(201);
      expect((await post({ ...COPY, dst_offset: 0, dst_device_name: 'dax1.0' })).status).toBe(201);
      const last = { ...COPY, src_offset: MIB - 4096, dst_offset: 0 };
      expect((await post(last)).status).toBe(201);
    });

    test('out_of_range in queries', async () => {
      for (const query of [`offset=${MIB}`, 'offset=1&size=1MiB', 'offset=0x1fffffffffffff']) {
        const url = `/devices/dax0.0/checksum?${query}`;
        expectProblem(await app.ask({ url }), 422, 'out_of_range');
      }
      const put = { method: 'PUT', url: `/devices/dax0.0/content?offset=${MIB + 1}` } as const;
      expectProblem(await app.ask({ ...put, payload: 'x' }), 422, 'out_of_range', ['/offset']);
      expectProblem(await app.ask(put), 422, 'out_of_range', ['/offset']);
    });
  });

  describe('422 bad_block', () => {
    const bad = { offset: 8192, size: 512 };
    beforeAll(() => {
      app.inventory.get('dax1.0').badBlocks.push(bad);
    });
    afterEach(() => expect(app.inventory.get('dax1.0').badBlocks).toEqual([bad]));
    afterAll(() => {
      app.inventory.get('dax1.0').badBlocks.pop();
    });

    test.each([
      [{ device_name: 'dax1.0', src_offset: 8192 + 511, dst_offset: 0, size: 1 }, '/src_offset'],
      [{ device_name: 'dax1.0', src_offset: 0, dst_offset: 4097, size: 4096 }, '/dst_offset'],
      [{ dst_device_name: 'dax1.0', dst_offset: 8192, size: 1 }, '/dst_offset'],
    ])('a transfer that touches it: %j', async (change, pointer) => {
      expectProblem(await post({ ...COPY, ...change }), 422, 'bad_block', [pointer]);
    });

    test.each([
      { device_name: 'dax1.0', src_offset: 8192 + 512, dst_offset: 0, size: 4096 },
      { dst_device_name: 'dax1.0', dst_offset: 4096, size: 4096 },
    ])('not one beside it: %j', async (change) => {
      expect((await post({ ...COPY, ...change })).status).toBe(201);
    });

    test('content and checksum', async () => {
      const base = '/devices/dax1.0';
      const range = { range: 'bytes=8191-8192' };
      const read = await app.ask({ url: `${base}/content`, headers: range });
      expectProblem(read, 422, 'bad_block');
      expectProblem(await app.ask({ url: `${base}/content` }), 422, 'bad_block');
      const before = await app.ask({ url: `${base}/content`, headers: { range: 'bytes=0-8191' } });
      expect(before.status).toBe(206);
      expectProblem(await app.ask({ url: `${base}/checksum` }), 422, 'bad_block');
      expect((await app.ask({ url: `${base}/checksum?size=8KiB` })).status).toBe(200);
      const write = { method: 'PUT', url: `${base}/content?offset=8191`, payload: 'xy' } as const;
      expectProblem(await app.ask(write), 422, 'bad_block', ['/offset']);
      expect((await app.ask({ ...write, payload: 'x' })).status).toBe(200);
    });

    test('is shown in GET /devices', async () => {
      const answer = await app.ask({ url: '/devices/dax1.0' });
      expect(JSON.parse(answer.body.toString()).bad_blocks).toEqual([bad]);
    });
  });

  describe('where several things are wrong', () => {
    const bad = { offset: 512 * 1024, size: 512 };
    beforeAll(() => {
      app.inventory.get('dax1.0').badBlocks.push(bad);
    });
    afterAll(() => {
      app.inventory.get('dax1.0').badBlocks.pop();
    });
    // Each step mends the first problem and leaves all that follow.
    const wrong: Record<string, unknown> = {
      device_name: 'nowhere',
      dst_device_name: 'dax1.0',
      segments: [
        { src_offset: bad.offset, dst_offset: bad.offset + 100, size: 600 },
        { src_offset: 0, dst_offset: MIB, size: 1 },
      ],
      engine: 'dma',
      colour: 'blue',
    };

    test('400, then 422 in the order of the contract', async () => {
      expectProblem(await post(wrong), 400, 'invalid_request', ['/colour']);
      delete wrong.colour;
      expectProblem(await post(wrong), 422, 'unknown_device', ['/device_name']);
      wrong.device_name = 'dax1.0';
      expectProblem(await post(wrong), 422, 'out_of_range', ['/segments/1/dst_offset']);
      (wrong.segments as unknown[]).pop();
      expectProblem(await post(wrong), 422, 'overlapping_ranges', ['/segments/0/dst_offset']);
      wrong.device_name = 'dax0.0';
      expectProblem(await post(wrong), 422, 'bad_block', ['/segments/0/dst_offset']);
      wrong.dst_device_name = 'dax0.0';
      wrong.segments = [{ src_offset: 0, dst_offset: 1, size: 1 }];
      expectProblem(await post(wrong), 422, 'engine_unavailable', ['/engine']);
      wrong.engine = 'cpu';
      expect((await post(wrong)).status).toBe(201);
    });

    test('what the header tells comes before the body', async () => {
      const headers = { 'content-type': 'text/plain', accept: 'image/png', host: 'example.com' };
      const send = (url: string, change: Record<string, string> = {}) =>
        app.ask({ method: 'POST', url, payload: '{', headers: { ...headers, ...change } });
      expectProblem(await send('/transfers'), 421, 'misdirected_request');
      expectProblem(await send('/nowhere', { host: 'localhost' }), 404, 'not_found');
      const own = { host: 'localhost' };
      expectProblem(await send('/transfers', own), 406, 'not_acceptable');
      const accepting = { ...own, accept: '*/*' };
      expectProblem(await send('/transfers', accepting), 415, 'unsupported_media_type');
      const typed = { ...accepting, 'content-type': 'application/json' };
      expectProblem(await send('/transfers', typed), 400, 'invalid_request');
    });
  });

  test('an error to a HEAD has the status and header, and no body', async () => {
    const answer = await app.ask({ method: 'HEAD', url: '/transfers/none' });
    expect(answer.status).toBe(404);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/);
    expect(answer.body).toHaveLength(0);
  });

  test('each answer has its own id, which a client cannot choose', async () => {
    const headers = { 'x-request-id': 'mine', 'request-id': 'mine' };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => app.ask({ url: '/livez', headers })),
    );
    const ids = new Set(answers.map((answer) => answer.headers['x-request-id']));
    expect(ids.size).toBe(20);
    expect(ids.has('mine')).toBe(false);
  });

  async function checksum(device: string): Promise<string> {
    const answer = await app.ask({ url: `/devices/${device}/checksum` });
    return JSON.parse(answer.body.toString()).crc32c;
  }
});
