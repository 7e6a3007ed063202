// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { request, Wire } from '../support/wire.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const KEEP = { connection: 'keep-alive' };
const COPY = JSON.stringify({ device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 16 });
const CONTENT = '/devices/dax0.0/content';
/** More than the kernel's buffers hold, so that a client is still sending when it is answered. */
const LARGE = Buffer.alloc(24 * 2 ** 20, 'x');

let app: TestApp;
let port: number;
beforeAll(async () => {
  app = await startTestApp({ environment: { DMAD_UPLOAD_IDLE_SECONDS: '1', DMAD_FAULTS: '1' } });
  port = await app.listen();
});
afterAll(() => app.close());

const live = request('GET /livez', KEEP);

async function transfers(): Promise<number> {
  const { body } = await app.ask({ url: '/transfers?page_size=1000' });
  return JSON.parse(body.toString()).transfers.length;
}

describe('pipelined requests', () => {
  test('are all answered: as many answers as transfers made', async () => {
    const before = await transfers();
    const wire = new Wire(port);
    wire.send(
      Buffer.concat(Array(20).fill(request('POST /transfers', { ...JSON_TYPE, ...KEEP }, COPY))),
    );
    for (let i = 0; i < 20; i++) expect((await wire.answer()).status).toBe(201);
    expect((await transfers()) - before).toBe(20);
    expect((await wire.send(live).answer()).status).toBe(200);
    wire.end();
  });

  test('too many: those that were taken are answered, and none behind the refusal is', async () => {
    const before = await transfers();
    const wire = new Wire(port);
    wire.send(
      Buffer.concat(Array(200).fill(request('POST /transfers', { ...JSON_TYPE, ...KEEP }, COPY))),
    );
    let made = 0;
    for (;;) {
      const answer = await wire.answer();
      if (answer.status !== 201) {
        expectProblem(answer, 429, 'queue_full');
        expect(answer.headers.connection).toBe('close');
        break;
      }
      made++;
    }
    await wire.closed;
    expect(wire.pending.length).toBe(0);
    expect(made).toBeGreaterThanOrEqual(16);
    expect((await transfers()) - before).toBe(made);
  });

  test('take effect in their order', async () => {
    const wire = new Wire(port);
    const put = (text: string) => request(`PUT ${CONTENT}`, KEEP, text);
    const get = request(`GET ${CONTENT}`, { ...KEEP, range: 'bytes=0-4' });
    wire.send(Buffer.concat([put('first'), get, put('later'), get]));
    const bodies = [];
    for (let i = 0; i < 4; i++) bodies.push((await wire.answer()).body.toString());
    expect([bodies[1], bodies[3]]).toEqual(['first', 'later']);
    wire.end();
  });

  test.each([
    ['an answer that closes the connection', request('GET /livez')],
    ['a stream of events', request('GET /events', KEEP)],
    ['a request that cannot be read', 'hello\r\n\r\n'],
    ['CONNECT', 'CONNECT localhost:22 HTTP/1.1\r\nhost: localhost:22\r\n\r\n'],
  ])('behind %s are not carried out', async (_name, first) => {
    const before = await transfers();
    const wire = new Wire(port).send(first);
    wire.send(request('POST /transfers', { ...JSON_TYPE, ...KEEP }, COPY));
    await wire.sees('\r\n\r\n');
    await sleep(100);
    wire.end();
    expect(await transfers()).toBe(before);
  });

  test('CONNECT is answered behind what came before it', async () => {
    const wire = new Wire(port);
    wire.send(request('POST /transfers', { ...JSON_TYPE, ...KEEP }, COPY));
    wire.send('CONNECT localhost:22 HTTP/1.1\r\nhost: localhost:22\r\n\r\n');
    expect((await wire.answer()).status).toBe(201);
    expectProblem(await wire.answer(), 405, 'method_not_allowed');
    await wire.closed;
  });
});

describe('a connection whose request was read to its end stays open', () => {
  test.each([
    ['malformed JSON', request('POST /transfers', { ...JSON_TYPE, ...KEEP }, '{"a":'), 400],
    ['a wrong field', request('POST /transfers', { ...JSON_TYPE, ...KEEP }, '{"a": 1}'), 400],
    [
      'bytes that are not UTF-8',
      request('POST /transfers', { ...JSON_TYPE, ...KEEP }, Buffer.from([0xff])),
      400,
    ],
    [
      'too deep',
      request('POST /transfers', { ...JSON_TYPE, ...KEEP }, '['.repeat(20) + ']'.repeat(20)),
      400,
    ],
    [
      'another type',
      request('POST /transfers', { 'content-type': 'text/plain', ...KEEP }, COPY),
      415,
    ],
    ['no such route', request('POST /none', { ...JSON_TYPE, ...KEEP }, COPY), 404],
    ['no such method', request('DELETE /transfers', { ...JSON_TYPE, ...KEEP }, COPY), 405],
    [
      'a device that there is not',
      request('POST /transfers', { ...JSON_TYPE, ...KEEP }, COPY.replaceAll('dax0.0', 'dax7.0')),
      422,
    ],
    [
      'another Accept',
      request('POST /transfers', { ...JSON_TYPE, ...KEEP, accept: 'text/plain' }, COPY),
      406,
    ],
    ['no such transfer', request('POST /transfers/none/cancel', KEEP), 404],
    ['no such device', request('PUT /devices/dax7.0/content', KEEP, 'hello'), 404],
    [
      'a foreign host',
      request('PUT /devices/dax0.0/content', { ...KEEP, host: 'a.example' }, 'hello'),
      421,
    ],
    ['a condition', request(`PUT ${CONTENT}`, { ...KEEP, 'if-match': '"x"' }, 'hello'), 412],
    ['past the end', request(`PUT ${CONTENT}?offset=1048575`, KEEP, 'hello'), 413],
    [
      'an expectation',
      request('POST /transfers', { ...JSON_TYPE, ...KEEP, expect: '100-continue' }, '{'),
      400,
    ],
  ])('%s', async (_name, bytes, status) => {
    const wire = new Wire(port).send(bytes);
    const answer = await wire.answer();
    expect(answer.status).toBe(status);
    expect(answer.headers.connection).not.toBe('close');
    expect((await wire.send(live).answer()).status).toBe(200);
    wire.end();
  });
});

describe('a refused upload: its client reads the answer, also once it has sent all', () => {
  const upload = (path: string, fields: Record<string, string>, version = '1.1') =>
    Buffer.concat([
      Buffer.from(
        request(`PUT ${path}`, { 'content-length': String(LARGE.length), ...fields })
          .toString('latin1')
          .replace('HTTP/1.1', `HTTP/${version}`),
        'latin1',
      ),
      LARGE,
    ]);
  test.each([
    ['404', upload('/devices/dax7.0/content', {}), 404],
    ['413', upload(CONTENT, {}), 413],
    ['421', upload(CONTENT, { host: 'a.example' }), 421],
    [
      '412',
      Buffer.concat([
        request(`PUT ${CONTENT}`, { 'transfer-encoding': 'chunked', 'if-match': '"x"' }),
        Buffer.from(`${LARGE.length.toString(16)}\r\n`),
        LARGE,
        Buffer.from('\r\n0\r\n\r\n'),
      ]),
      412,
    ],
    ['415', upload(CONTENT, { 'content-type': 'text/html' }), 415],
    ['404 over a connection that would stay', upload('/devices/dax7.0/content', KEEP), 404],
    ['413 of HTTP/1.0', upload(CONTENT, {}, '1.0'), 413],
    [
      'JSON beyond its limit',
      Buffer.concat([
        request('POST /transfers', { ...JSON_TYPE, 'content-length': String(LARGE.length) }),
        LARGE,
      ]),
      413,
    ],
    ['a header beyond its limit', `GET /${'x'.repeat(2 ** 21)} HTTP/1.1\r\n\r\n`, 431],
    ['garbage', Buffer.alloc(2 ** 21, 'x'), 400],
  ])('%s', async (_name, bytes, status) => {
    const wire = new Wire(port);
    // Reads nothing before it has sent all, as simple clients do.
    wire.socket.pause();
    await new Promise<void>((resolve, reject) => {
      wire.socket.once('error', reject);
      wire.socket.write(typeof bytes === 'string' ? Buffer.from(bytes) : bytes, () => resolve());
    });
    await sleep(50);
    wire.socket.resume();
    expect((await wire.answer()).status).toBe(status);
    await wire.closed;
  });

  test('HEAD is answered at once, though it announces a body and sends none', async () => {
    const wire = new Wire(port);
    const since = Date.now();
    wire.send(request('HEAD /devices/dax7.0/content', { ...KEEP, 'content-length': '5' }));
    expect((await wire.answer('HEAD')).status).toBe(404);
    expect(Date.now() - since).toBeLessThan(1500);
    wire.end();
  });

  test('one that neither goes on nor leaves is cut off', async () => {
    const wire = new Wire(port).send(request(`PUT ${CONTENT}`, { 'content-length': '99999999' }));
    expect((await wire.answer()).status).toBe(413);
    const since = Date.now();
    await wire.closed;
    expect(Date.now() - since).toBeLessThan(10_000);
  });
});

describe('a client that sends nothing more, and waits', () => {
  /** Again if a busy machine has taken longer to answer than such a client is waited for. */
  async function statuses(bytes: Buffer, answers: number): Promise<number[]> {
    for (let tries = 1; ; tries++) {
      const wire = new Wire(port);
      wire.socket.end(bytes);
      try {
        const found: number[] = [];
        while (found.length < answers) found.push((await wire.answer()).status);
        await wire.closed;
        return found;
      } catch (error) {
        if (tries === 5) throw error;
      }
    }
  }

  test.each([
    ['POST', request('POST /transfers', { ...JSON_TYPE, ...KEEP }, COPY), 201],
    ['PUT', request(`PUT ${CONTENT}`, KEEP, 'bytes'), 200],
    ['a download', request(`GET ${CONTENT}`, KEEP), 200],
    ['a checksum', request('GET /devices/dax0.0/checksum', KEEP), 200],
    ['a problem', request('POST /transfers', { ...JSON_TYPE, ...KEEP }, '{}'), 400],
  ])('is answered: %s', async (_name, bytes, status) => {
    expect(await statuses(bytes, 1)).toEqual([status]);
  });

  test('is answered for each of several requests', async () => {
    const one = request('POST /transfers', { ...JSON_TYPE, ...KEEP }, COPY);
    const bytes = Buffer.concat([one, one, request(`GET ${CONTENT}`, KEEP)]);
    expect(await statuses(bytes, 3)).toEqual([201, 201, 200]);
  });

  test.each([
    ['past Node', 0],
    ['by Node', Number.POSITIVE_INFINITY],
  ])(
    'has all of an answer that has begun, however slowly it reads: %s',
    async (_way, pastNodeFrom) => {
      const size = 32 * 2 ** 20;
      const own = await startTestApp({
        environment: { DMAD_DEVICES: `emulated:dax0.0=${size}` },
        pastNodeFrom,
      });
      const address = { port: await own.listen(), host: '127.0.0.1', allowHalfOpen: true };
      const get = request(`GET ${CONTENT}`, KEEP);
      for (const requests of [[get], [get, get]]) {
        const socket = connect(address);
        socket.write(Buffer.concat(requests));
        const [first] = (await once(socket, 'data')) as [Buffer];
        socket.pause();
        socket.end();
        // Longer than it would be waited for if nothing had come.
        await sleep(1200);
        let received = first.length;
        socket.on('data', ({ length }: Buffer) => {
          received += length;
        });
        socket.resume();
        await once(socket, 'end');
        expect(received).toBeGreaterThan(size);
      }
      await own.close();
    },
  );

  test('is not waited for, for it may have left', async () => {
    const device = { device_name: 'dax1.0' };
    const hang = { ...device, offset: 0, size: 4096, kind: 'hang', count: 1 };
    const fault = { method: 'POST', url: '/faults', payload: hang } as const;
    expect((await app.ask(fault)).status).toBe(201);
    const copy = JSON.stringify({ ...JSON.parse(COPY), ...device });
    const bytes = request('POST /transfers', { ...JSON_TYPE, ...KEEP, prefer: 'wait=60' }, copy);
    const wire = new Wire(port);
    wire.socket.end(Buffer.concat([bytes, bytes]));
    const since = performance.now();
    await wire.closed;
    expect(performance.now() - since).toBeLessThan(20_000);
    expect(wire.pending.toString()).toBe('');
    await app.ask({ method: 'DELETE', url: '/faults' });
  });
});
