// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { exchange, request } from '../support/wire.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const COPY = JSON.stringify({ device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 16 });

/** Any page that somebody has open can send requests to an open daemon on loopback. */
describe('requests of web pages', () => {
  let app: TestApp;
  let port: number;
  beforeAll(async () => {
    app = await startTestApp({ environment: { DMAD_ALLOWED_HOSTS: 'dmad.example.com' } });
    port = await app.listen();
  });
  afterAll(() => app.close());

  const ask = (line: string, fields: Record<string, string>, body = '') =>
    exchange(port, request(line, { host: `localhost:${port}`, ...fields }, body));

  const FOREIGN: [string, Record<string, string>][] = [
    ['another site', { 'sec-fetch-site': 'cross-site' }],
    ['another port of this host', { 'sec-fetch-site': 'same-site' }],
    ['a site in a frame', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }],
    ['a foreign origin', { origin: 'https://evil.example' }],
    ['an origin on another port', { origin: 'http://localhost:1' }],
    ['an opaque origin', { origin: 'null' }],
    ['an origin that is none', { origin: 'evil' }],
    ['a name that begins alike', { origin: 'http://dmad.example.com.evil.example' }],
    ['both', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
    ['a value from the future', { 'sec-fetch-site': 'who-knows' }],
  ];
  const DOES_SOMETHING: [string, Record<string, string>, string][] = [
    ['POST /transfers', JSON_TYPE, COPY],
    ['PUT /devices/dax0.0/content', {}, 'hello'],
    ['POST /engines/calibrate', {}, ''],
    ['GET /devices/dax0.0/content', { range: 'bytes=0-9' }, ''],
    ['GET /devices/dax0.0/checksum', {}, ''],
    ['GET /transfers', {}, ''],
    ['GET /events', {}, ''],
    ['GET /none', {}, ''],
  ];

  describe.each(FOREIGN)('%s', (_name, from) => {
    test.each(DOES_SOMETHING)('%s is refused', async (line, fields, body) => {
      const answer = await ask(line, { ...fields, ...from }, body);
      expect(expectProblem(answer, 403, 'forbidden').detail).toMatch(/another site/);
    });

    test.each(['/docs', '/openapi.json', '/livez', '/readyz', '/version'])(
      'a link to %s works',
      async (path) => {
        expect((await ask(`GET ${path}`, from)).status).toBe(200);
      },
    );
  });

  test('nothing was done', async () => {
    const { body } = await ask('GET /transfers', {});
    expect(JSON.parse(body.toString()).transfers).toEqual([]);
  });

  test.each([
    ['no browser', {}],
    ['Swagger UI', { 'sec-fetch-site': 'same-origin', origin: 'http://localhost:PORT' }],
    ['an older browser', { origin: 'http://localhost:PORT' }],
    ['a typed address', { 'sec-fetch-site': 'none' }],
    // A page that sends no referrer; the browser vouches for it.
    ['a page without referrer', { 'sec-fetch-site': 'same-origin', origin: 'null' }],
    ['TLS that ends at a proxy', { host: 'dmad.example.com', origin: 'https://dmad.example.com' }],
    [
      'a proxy that says another Host',
      { host: '127.0.0.1:PORT', origin: 'https://dmad.example.com' },
    ],
    [
      'a proxy that says another Host, a newer browser',
      {
        host: '127.0.0.1:PORT',
        origin: 'https://any.example',
        'sec-fetch-site': 'same-origin',
      },
    ],
  ] as [string, Record<string, string>][])('%s is answered', async (_name, fields) => {
    const own = Object.fromEntries(
      Object.entries(fields).map(([name, value]) => [name, value.replace('PORT', String(port))]),
    );
    expect((await ask('POST /transfers', { ...JSON_TYPE, ...own }, COPY)).status).toBe(201);
  });

  test('the default port need not be said', async () => {
    const fields = { ...JSON_TYPE, host: 'localhost:80', origin: 'http://localhost' };
    expect((await ask('POST /transfers', fields, COPY)).status).toBe(201);
  });
});
