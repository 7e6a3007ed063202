// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const COPY = JSON.stringify({ device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 16 });
const HOST = 'host: localhost\r\n';

/** What no HTTP library would send, byte by byte over a socket. */
describe('on the wire', () => {
  let app: TestApp;
  let port: number;
  beforeAll(async () => {
    app = await startTestApp({ environment: { DMAD_UPLOAD_IDLE_SECONDS: '1' } });
    port = await app.listen();
  });
  afterAll(() => app.close());

  describe('framing that cannot be read: 400 invalid_request', () => {
    test.each([
      ['no HTTP at all', 'hello\r\n\r\n'],
      ['a TLS hello', Buffer.from('16030100a5010000a10303', 'hex')],
      ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['an unknown method', `BREW /pot HTTP/1.1\r\n${HOST}\r\n`],
      ['an unknown version', `GET /livez HTTP/3.7\r\n${HOST}\r\n`],
      ['a space in the target', `GET /li vez HTTP/1.1\r\n${HOST}\r\n`],
      ['a zero byte in the target', `GET /liv\0ez HTTP/1.1\r\n${HOST}\r\n`],
      ['a header without a colon', `GET /livez HTTP/1.1\r\n${HOST}nonsense\r\n\r\n`],
      ['a space before the colon', `GET /livez HTTP/1.1\r\n${HOST}a : b\r\n\r\n`],
      ['a bare CR', `GET /livez HTTP/1.1\r\n${HOST}a: b\rc: d\r\n\r\n`],
      ['a zero byte in a header', `GET /livez HTTP/1.1\r\n${HOST}a: \0\r\n\r\n`],
      ['a length that is none', `POST /transfers HTTP/1.1\r\n${HOST}content-length: x\r\n\r\n`],
      ['a negative length', `POST /transfers HTTP/1.1\r\n${HOST}content-length: -1\r\n\r\n`],
      [
        'a length beyond all bounds',
        `POST /transfers HTTP/1.1\r\n${HOST}content-length: 99999999999999999999999\r\n\r\n`,
      ],
      [
        'two lengths',
        `POST /transfers HTTP/1.1\r\n${HOST}content-length: 1\r\ncontent-length: 2\r\n\r\nx`,
      ],
      [
        'a length and chunks',
        `POST /transfers HTTP/1.1\r\n${HOST}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      ],
      [
        'chunked twice',
        `POST /transfers HTTP/1.1\r\n${HOST}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n`,
      ],
      [
        'a chunk size that is none',
        `PUT /devices/dax0.0/content HTTP/1.1\r\n${HOST}transfer-encoding: chunked\r\n\r\nxyz\r\n`,
      ],
      [
        'a chunk that goes on',
        `PUT /devices/dax0.0/content HTTP/1.1\r\n${HOST}transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n`,
      ],
    ])('%s', async (_name, bytes) => {
      const wire = new Wire(port).send(bytes);
      const answer = await wire.answer();
      expectProblem(answer, 400, 'invalid_request');
      // The two sides no longer agree where a message begins.
      await wire.closed;
    });

    test('no Host, and two', async () => {
      expectProblem(await exchange(port, 'GET /livez HTTP/1.1\r\n\r\n'), 400, 'invalid_request');
      const two = `GET /livez HTTP/1.1\r\n${HOST}${HOST}\r\n`;
      expectProblem(await exchange(port, two), 400, 'invalid_request');
      const oldOnes = await exchange(port, 'GET /livez HTTP/1.0\r\n\r\n');
      expect(oldOnes.status).toBe(200);
    });
  });

  test('an empty Host is not ours', async () => {
    const answer = await exchange(port, 'GET /livez HTTP/1.1\r\nhost:\r\n\r\n');
    expect([400, 421]).toContain(answer.status);
    expectProblem(
      answer,
      answer.status,
      answer.status === 400 ? 'invalid_request' : 'misdirected_request',
    );
  });

  test('a target with its host: that host counts', async () => {
    const own = await exchange(port, request(`GET http://localhost:${port}/livez`));
    expect(own.status).toBe(200);
    const foreign = await exchange(port, request('GET http://example.com/livez'));
    expectProblem(foreign, 421, 'misdirected_request');
    const both = request('GET http://127.0.0.1/livez?x=1', { host: 'example.com' });
    expectProblem(await exchange(port, both), 400, 'invalid_request', ['/x']);
  });

  test('the address and port of the connection are its own host', async () => {
    const own = await exchange(port, request('GET /livez', { host: `127.0.0.1:${port}` }));
    expect(own.status).toBe(200);
    const foreign = await exchange(port, request('GET /livez', { host: `10.0.0.1:${port}` }));
    expectProblem(foreign, 421, 'misdirected_request');
  });

  test.each([
    ['a request line', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\n${HOST}\r\n`],
    ['one header', `GET /livez HTTP/1.1\r\n${HOST}a: ${'x'.repeat(20_000)}\r\n\r\n`],
    ['many headers', `GET /livez HTTP/1.1\r\n${HOST}${'aaaa: bbbb\r\n'.repeat(4000)}\r\n`],
  ])('%s beyond 16 KiB: 431', async (_name, bytes) => {
    expectProblem(await exchange(port, bytes), 431, 'headers_too_large');
  });

  test('thousands of headers in 16 KiB do no harm', async () => {
    const bytes = `GET /livez HTTP/1.1\r\n${HOST}${'a:\r\n'.repeat(3000)}\r\n`;
    const answer = await exchange(port, bytes);
    expect([200, 431]).toContain(answer.status);
  });

  test('417: an expectation other than 100-continue', async () => {
    const answer = await exchange(port, request('GET /livez', { expect: 'miracles' }));
    expectProblem(answer, 417, 'expectation_failed');
  });

  test.each([
    ['CONNECT', 'CONNECT localhost:22 HTTP/1.1\r\nhost: localhost:22\r\n\r\n'],
    ['TRACE', `TRACE /livez HTTP/1.1\r\n${HOST}\r\n`],
    ['PURGE', `PURGE /livez HTTP/1.1\r\n${HOST}\r\n`],
    ['QUERY', `QUERY /transfers HTTP/1.1\r\n${HOST}\r\n`],
  ])('%s: 405 with Allow', async (_method, bytes) => {
    const answer = await exchange(port, bytes);
    expectProblem(answer, 405, 'method_not_allowed');
    expect(answer.headers.allow).toMatch(/GET/);
  });

  test('an upgrade is ignored, and the request answered', async () => {
    for (const upgrade of ['websocket', 'h2c']) {
      const fields = { connection: 'upgrade', upgrade, 'sec-websocket-key': 'AAAA' };
      const answer = await exchange(port, request('GET /livez', fields));
      expect(answer.status).toBe(200);
    }
  });

  describe('Expect: 100-continue', () => {
    test('a body that is wanted is asked for', async () => {
      const head = request('POST /transfers', {
        ...JSON_TYPE,
        expect: '100-continue',
        'content-length': String(COPY.length),
      });
      const wire = new Wire(port).send(head);
      await wire.sees('HTTP/1.1 100 Continue\r\n\r\n');
      expect((await wire.send(COPY).answer()).status).toBe(201);
      wire.end();
    });

    test.each([
      ['/devices/dax0.0/content', { 'content-length': '99999999' }, 413, 'payload_too_large'],
      ['/devices/dax9.0/content', { 'content-length': '5' }, 404, 'not_found'],
      ['/devices/dax0.0/content?offset=2MiB', { 'content-length': '5' }, 422, 'out_of_range'],
      [
        '/devices/dax0.0/content',
        { 'content-length': '5', 'content-type': 'text/html' },
        415,
        'unsupported_media_type',
      ],
    ] as const)('a refused body is not: PUT %s', async (url, fields, status, code) => {
      const wire = new Wire(port).send(
        request(`PUT ${url}`, { ...fields, expect: '100-continue' }),
      );
      await wire.sees('\r\n\r\n');
      expect(wire.pending.toString('latin1')).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expectProblem(await wire.answer(), status, code);
      wire.end();
    });

    test('a JSON body beyond 1 MiB is refused by its length', async () => {
      const fields = { ...JSON_TYPE, 'content-length': '1048577', expect: '100-continue' };
      const answer = await exchange(port, request('POST /transfers', fields));
      expectProblem(answer, 413, 'payload_too_large');
    });
  });

  test('a JSON body beyond 1 MiB in chunks: 413', async () => {
    const fields = { ...JSON_TYPE, 'transfer-encoding': 'chunked' };
    const wire = new Wire(port).send(request('POST /transfers', fields));
    const chunk = `10000\r\n${' '.repeat(65_536)}\r\n`;
    for (let i = 0; i < 17; i++) wire.send(chunk);
    expectProblem(await wire.answer(), 413, 'payload_too_large');
    wire.end();
  });

  test('408: an upload that stalls, which keeps what arrived', async () => {
    const wire = new Wire(port);
    wire.send(request('PUT /devices/dax0.0/content?offset=100', { 'content-length': '10' }));
    wire.send('half!');
    const { detail } = expectProblem(await wire.answer(), 408, 'request_timeout');
    expect(detail).toContain('DMAD_UPLOAD_IDLE_SECONDS');
    await wire.closed;
    const answer = await exchange(
      port,
      request('GET /devices/dax0.0/content', { range: 'bytes=100-109' }),
    );
    expect(answer.body.toString('latin1')).toBe('half!\0\0\0\0\0');
  });

  test('an upload that trickles is not cut off', async () => {
    const wire = new Wire(port);
    wire.send(request('PUT /devices/dax0.0/content?offset=200', { 'content-length': '6' }));
    for (const letter of 'abcdef') {
      wire.send(letter);
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    const answer = await wire.answer();
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body.toString()).bytes_written).toBe(6);
    wire.end();
  });

  test('several requests on one connection, answered in order', async () => {
    const wire = new Wire(port);
    const copy = request('POST /transfers', { ...JSON_TYPE, connection: 'keep-alive' }, COPY);
    const live = request('GET /livez', { connection: 'keep-alive' });
    const none = request('GET /none', { connection: 'keep-alive' });
    wire.send(Buffer.concat([copy, none, live, copy]));
    const statuses = [];
    for (let i = 0; i < 4; i++) statuses.push((await wire.answer()).status);
    expect(statuses).toEqual([201, 404, 200, 201]);
    wire.end();
  });

  test('a request split at every byte', async () => {
    const wire = new Wire(port);
    wire.socket.setNoDelay(true);
    for (const byte of request('POST /transfers', JSON_TYPE, COPY)) {
      wire.send(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await wire.answer()).status).toBe(201);
    wire.end();
  });

  test('a body that a GET has is left unread, and the connection goes on', async () => {
    const wire = new Wire(port);
    const fields = { ...JSON_TYPE, connection: 'keep-alive' };
    wire.send(request('GET /livez', fields, '{"not": "wanted"}'));
    wire.send(request('GET /version', { connection: 'keep-alive' }));
    expect((await wire.answer()).status).toBe(200);
    expect((await wire.answer()).status).toBe(200);
    wire.end();
  });

  test('garbage behind a whole request: the request is answered first', async () => {
    const wire = new Wire(port).send(request('GET /livez', { connection: 'keep-alive' }));
    wire.send('\x00\x01garbage\r\n\r\n');
    expect((await wire.answer()).status).toBe(200);
    expectProblem(await wire.answer(), 400, 'invalid_request');
    await wire.closed;
  });

  test('HEAD answers as GET does, with no body', async () => {
    for (const path of ['/livez', '/devices', '/transfers', '/devices/dax0.0/content']) {
      const wire = new Wire(port);
      wire.send(request(`HEAD ${path}`, { connection: 'keep-alive' }));
      const head = await wire.answer('HEAD');
      expect(head.status).toBe(200);
      // The next answer follows at once: nothing of a body is between them.
      wire.send(request('GET /livez'));
      expect((await wire.answer()).status).toBe(200);
      wire.end();
      const get = await exchange(port, request(`GET ${path}`));
      expect(head.headers['content-length']).toBe(get.headers['content-length']);
      expect(head.headers['content-type']).toBe(get.headers['content-type']);
    }
  });

  test('the daemon is unharmed', async () => {
    const answer = await exchange(port, request('POST /transfers', JSON_TYPE, COPY));
    expect(answer.status).toBe(201);
  });
});
