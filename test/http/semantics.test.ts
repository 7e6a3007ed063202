// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const CONTENT = '/devices/dax0.0/content';
const JSON_TYPE = { 'content-type': 'application/json' };
const COPY = JSON.stringify({ device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 16 });
const YESTERDAY = 'Thu, 26 Nov 2026 00:00:00 GMT';

/** What RFC 9110 and RFC 9112 ask of a server, beyond what routes do. */
describe('HTTP semantics', () => {
  let app: TestApp;
  let port: number;
  beforeAll(async () => {
    app = await startTestApp();
    port = await app.listen();
  });
  afterAll(() => app.close());

  const contentOf = async (size = 16) =>
    (await app.ask({ url: CONTENT, headers: { range: `bytes=0-${size - 1}` } })).body;
  const write = (text: string, headers: Record<string, string> = {}) =>
    app.ask({ method: 'PUT', url: CONTENT, payload: Buffer.from(text), headers });

  describe('preconditions: 412, and nothing happens', () => {
    test.each([
      ['if-match', '"x"'],
      ['if-match', 'W/"x", "y"'],
      ['if-none-match', '*'],
      ['if-none-match', '"x"'],
      ['if-unmodified-since', YESTERDAY],
      ['if-modified-since', YESTERDAY],
    ])('PUT with %s: %s', async (name, value) => {
      await write('as it was       ');
      const answer = await write('overwritten     ', { [name]: value });
      expectProblem(answer, 412, 'precondition_failed');
      expect((await contentOf()).toString()).toBe('as it was       ');
    });

    test.each([
      ['?offset=2MiB', 'x', {}, 422, 'out_of_range'],
      ['?offset=1MiB', 'x', {}, 413, 'payload_too_large'],
      ['', 'x', { 'content-digest': 'sha-256=x' }, 400, 'invalid_request'],
    ] as const)(
      'do not count where PUT %s is refused anyway',
      async (query, payload, fields, status, code) => {
        const headers = { ...fields, 'if-none-match': '*' };
        const answer = await app.ask({
          method: 'PUT',
          url: `${CONTENT}${query}`,
          payload,
          headers,
        });
        expectProblem(answer, status, code);
      },
    );

    test('POST makes no transfer', async () => {
      for (const [name, value] of [
        ['if-match', '"x"'],
        ['if-none-match', '*'],
      ]) {
        const answer = await app.ask({
          method: 'POST',
          url: '/transfers',
          payload: COPY,
          headers: { ...JSON_TYPE, [name as string]: value as string },
        });
        expectProblem(answer, 412, 'precondition_failed');
      }
      const list = await app.ask({ url: '/transfers' });
      expect(JSON.parse(list.body.toString()).transfers).toEqual([]);
    });

    test('a body whose client waits to be asked for it is not asked for', async () => {
      const fields = { 'content-length': '5', expect: '100-continue', 'if-match': '"x"' };
      const wire = new Wire(port).send(request(`PUT ${CONTENT}`, fields));
      await wire.sees('\r\n\r\n');
      expect(wire.pending.toString('latin1')).toMatch(/^HTTP\/1.1 412 /);
      wire.end();
    });

    test('a condition that holds, or means nothing for the method, changes nothing', async () => {
      // The device is there (13.1.1); If-Range is for GET with Range (13.1.5).
      for (const fields of [{ 'if-match': '*' }, { 'if-range': '"x"' }] as Record<
        string,
        string
      >[]) {
        expect((await write('written', fields)).status).toBe(200);
      }
      const read = await app.ask({ url: CONTENT, headers: { 'if-modified-since': YESTERDAY } });
      expect(read.status).toBe(200);
    });
  });

  describe('transfer codings', () => {
    test.each([
      'gzip, chunked',
      'deflate, chunked',
      'x, gzip, Chunked',
      'gzip\r\ntransfer-encoding: chunked',
    ])('501, and nothing written: %s', async (coding) => {
      await write('as it was       ');
      for (const line of [`PUT ${CONTENT}`, 'POST /transfers', 'GET /livez']) {
        const fields = { ...(line.startsWith('POST') && JSON_TYPE), 'transfer-encoding': coding };
        const body = '10\r\noverwritten     \r\n0\r\n\r\n';
        expectProblem(
          await exchange(port, request(line, fields, body)),
          501,
          'unsupported_transfer_coding',
        );
      }
      expect((await contentOf()).toString()).toBe('as it was       ');
    });

    test('501 without chunked at its end too', async () => {
      const bytes = request(`PUT ${CONTENT}`, { 'transfer-encoding': 'gzip' });
      expectProblem(await exchange(port, bytes), 501, 'unsupported_transfer_coding');
    });

    test('chunked is taken, in any case', async () => {
      const fields = { 'transfer-encoding': 'CHUNKED' };
      const answer = await exchange(
        port,
        request(`PUT ${CONTENT}`, fields, '5\r\nhello\r\n0\r\n\r\n'),
      );
      expect(answer.status).toBe(200);
    });

    test('HTTP/1.0 has none: 400, nothing written, and the connection is closed', async () => {
      await write('as it was       ');
      const wire = new Wire(port);
      wire.send(
        `PUT ${CONTENT} HTTP/1.0\r\nhost: localhost\r\nconnection: keep-alive\r\n` +
          'transfer-encoding: chunked\r\n\r\n3\r\nnew\r\n0\r\n\r\n',
      );
      expectProblem(await wire.answer(), 400, 'invalid_request');
      await wire.closed;
      expect((await contentOf()).toString()).toBe('as it was       ');
    });
  });

  test.each([
    [`PUT ${CONTENT}`, 'hello', {}, 200],
    ['POST /transfers', COPY, JSON_TYPE, 201],
  ])('HTTP/1.0: an expectation is ignored: %s', async (line, body, fields, status) => {
    const bytes = request(line, { ...fields, expect: '100-continue' }, body)
      .toString('latin1')
      .replace('HTTP/1.1', 'HTTP/1.0');
    const wire = new Wire(port).send(bytes);
    await wire.sees('\r\n\r\n');
    expect(wire.pending.toString('latin1')).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    wire.end();
  });

  describe('HEAD', () => {
    test.each(['bytes=0-9', 'bytes=99999999-', 'bytes=-0'])(
      'Range: %s means nothing for it',
      async (range) => {
        const head = await exchange(port, request(`HEAD ${CONTENT}`, { range }), 'HEAD');
        expect(head.status).toBe(200);
        expect(head.headers['content-length']).toBe(String(2 ** 20));
        expect(head.headers).not.toHaveProperty('content-range');
      },
    );

    test('wherever GET is', async () => {
      const posted = await app.post(JSON.parse(COPY));
      const { paths } = app.http.swagger() as { paths: Record<string, Record<string, unknown>> };
      const urls = Object.entries(paths)
        .filter(([, methods]) => 'get' in methods)
        // There is none without a peer.
        .filter(([path]) => !path.startsWith('/replications/'))
        .map(([path]) => path.replace('{id}', posted.json().id).replace('{name}', 'dax0.0'))
        .map((path) => path.replace('{code}', 'not_found'));
      expect(urls.length).toBeGreaterThan(10);
      for (const url of [...urls, '/docs', '/docs/', '/docs/json', '/docs/static/index.css']) {
        const head = await exchange(port, request(`HEAD ${url}`), 'HEAD');
        expect({ url, status: head.status }).toEqual({ url, status: 200 });
        // What changes is not to be cached; the files of Swagger UI say so themselves.
        const caching = head.headers['cache-control'];
        if (!url.startsWith('/docs/'))
          expect({ url, caching }).toEqual({ url, caching: 'no-store' });
      }
    });
  });

  test('what cannot be produced is 406, on every route', async () => {
    const { paths } = app.http.swagger() as { paths: Record<string, Record<string, unknown>> };
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ path, method: method.toUpperCase() })),
    );
    expect(operations.length).toBeGreaterThan(15);
    for (const { path, method } of operations) {
      const line = `${method} ${path.replace('{name}', 'dax0.0').replace('{code}', 'forbidden')}`;
      const answer = await exchange(port, request(line, { accept: 'application/x-nothing' }));
      expect({ line, status: answer.status }).toEqual({ line, status: 406 });
      expectProblem(answer, 406, 'not_acceptable');
    }
  });

  test('OPTIONS * says what methods there are', async () => {
    const wire = new Wire(port);
    wire.send(request('OPTIONS *', { connection: 'keep-alive' }));
    const answer = await wire.answer();
    expect(answer.status).toBe(204);
    expect(answer.headers.allow).toBe('DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT');
    expect(answer.headers['x-request-id']).toBeDefined();
    expect((await wire.send(request('GET /livez')).answer()).status).toBe(200);
    wire.end();
  });

  test('OPTIONS * asks for one Host, and for one that is ours', async () => {
    const foreign = await exchange(port, request('OPTIONS *', { host: 'example.com' }));
    expectProblem(foreign, 421, 'misdirected_request');
    const none = await exchange(port, 'OPTIONS * HTTP/1.1\r\n\r\n');
    expectProblem(none, 400, 'invalid_request');
  });

  test.each(['GET *', 'GET *livez', 'PUT *', 'GET *?x=1'])(
    '%s: only OPTIONS may ask about no path',
    async (line) => {
      expectProblem(await exchange(port, request(line)), 404, 'not_found');
    },
  );

  test.each([
    ['a route', request('GET /livez', { connection: 'keep-alive' }), 200],
    ['a problem', request('GET /none', { connection: 'keep-alive' }), 404],
    [
      'a body that cannot be read',
      request('POST /transfers', { ...JSON_TYPE, connection: 'keep-alive' }, '{'),
      400,
    ],
    ['what the parser refuses', 'GET /livez HTTP/1.1\r\nbroken\r\n\r\n', 400],
    ['an expectation', request('GET /livez', { expect: 'tea' }), 417],
    ['CONNECT', request('CONNECT localhost:80'), 405],
  ])('the answer to %s is dated', async (_name, bytes, status) => {
    const answer = await exchange(port, bytes);
    expect(answer.status).toBe(status);
    expect(Math.abs(Date.parse(answer.headers.date as string) - Date.now())).toBeLessThan(60_000);
  });

  describe('an answer says whether its connection stays open', () => {
    const lines = ['GET /livez', 'GET /none', 'POST /transfers'];
    test.each(lines)('%s: close, if the client asks for that', async (line) => {
      const answer = await exchange(
        port,
        request(line, JSON_TYPE, line.startsWith('POST') ? '{' : ''),
      );
      expect(answer.headers.connection).toBe('close');
    });

    test.each(lines)('%s: keep-alive, if a client of HTTP/1.0 asks for that', async (line) => {
      const body = line.startsWith('POST')
        ? 'content-type: application/json\r\ncontent-length: 1\r\n\r\n{'
        : '\r\n';
      const wire = new Wire(port).send(`${line} HTTP/1.0\r\nconnection: keep-alive\r\n${body}`);
      expect((await wire.answer()).headers.connection).toBe('keep-alive');
      expect((await wire.send(request('GET /livez')).answer()).status).toBe(200);
      wire.end();
    });
  });

  test.each([
    ['content-range', 'bytes 0-4/10', 400, 'invalid_request', /\?offset=/],
    ['content-range', 'bytes */10', 400, 'invalid_request', /\?offset=/],
    ['content-encoding', 'gzip', 415, 'unsupported_media_type', /Content-Encoding/],
  ] as const)('PUT with %s: %s is refused', async (name, value, status, code, detail) => {
    await write('as it was       ');
    const answer = await write('overwritten     ', { [name]: value });
    expect(expectProblem(answer, status, code).detail).toMatch(detail);
    expect((await contentOf()).toString()).toBe('as it was       ');
  });
});
