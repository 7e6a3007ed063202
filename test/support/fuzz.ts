// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import type { InjectOptions } from 'fastify';
import { startTestApp, type TestApp } from './app.ts';

/** Small, so that what happens to be valid is quick. */
export const FUZZ_DEVICE_SIZE = 65_536;

export function startFuzzApp(): Promise<TestApp> {
  const devices = ['dax0.0', 'dax1.0'].map((name) => `emulated:${name}=${FUZZ_DEVICE_SIZE}`);
  return startTestApp({ environment: { DMAD_DEVICES: devices.join(',') } });
}

/** Strings that something may stumble over. */
const nasty = fc.constantFrom(
  ...['', ' ', '\0', '\n', '\r\n', '%', '%00', '%zz', '../..', '/', '//', '\\', "'", '"', '`', ';'],
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'null', 'undefined', 'NaN', '-1'],
  ...['1e309', '0x', '0x1g', '٣', '\ud800', '\ufeff', '\u202e', '😀', 'é', 'a'.repeat(300), '{}'],
  ...['[]', '%s%n', '<script>', 'dax0.0', '/dev/dax0.0', '*', 'true', '1KiB', ':', 'k:v'],
);
const text = fc.oneof(nasty, fc.string({ unit: 'binary', maxLength: 20 }), fc.string());

const number = fc.oneof(
  fc.nat(FUZZ_DEVICE_SIZE + 10),
  fc.constantFrom(0, -0, -1, 1, 0.5, 4096, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e300, -1e300),
  fc.double(),
);
const byteCount = fc.oneof(
  { weight: 6, arbitrary: fc.nat(FUZZ_DEVICE_SIZE) },
  { weight: 1, arbitrary: number },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat(70_000), fc.constantFrom('', 'KiB', 'MiB', 'GiB', 'kb', ' '))
      .map(([count, unit]) => `${count}${unit}`),
  },
  { weight: 1, arbitrary: fc.nat().map((count) => `0x${count.toString(16)}`) },
  { weight: 1, arbitrary: text },
);
const anything = fc.oneof(
  text,
  number,
  fc.boolean(),
  fc.constant(null),
  fc.jsonValue({ maxDepth: 3 }),
);
/** Mostly what is meant, now and then anything at all. */
const mostly = (arbitrary: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 9, arbitrary }, { weight: 1, arbitrary: anything });

const device = fc.constantFrom('dax0.0', 'dax1.0', '/dev/dax0.0', '/dev/dax1.0');
const segment = fc.record(
  { src_offset: byteCount, dst_offset: byteCount, size: byteCount },
  { requiredKeys: ['dst_offset', 'size'] },
);
const labels = fc.dictionary(text, fc.oneof(text, anything), { maxKeys: 18 });
/** Not for minutes: a wait is not what is tested. */
const prefer = fc.oneof(
  fc.constantFrom(
    'respond-async',
    'wait=0',
    'wait=1',
    'wait=99999999999999999999',
    'wait=x',
    ',;=',
  ),
  text,
);

const wholeOperations = [
  { operation: 'fill', device_name: 'dax0.0', dst_offset: 8, size: '1KiB', pattern: 'a0b1' },
  { operation: 'fill', device_name: 'dax1.0', segments: [{ dst_offset: 1, size: 9 }] },
  { operation: 'compare', device_name: 'dax0.0', src_offset: 0, dst_offset: 4, size: 4096 },
];

/** A body of POST /transfers, or nearly. */
export const transferBody = fc
  .record(
    {
      operation: mostly(fc.constantFrom('copy', 'fill', 'compare')),
      pattern: mostly(fc.constantFrom('00', 'abcd', '0123456789abcdef')),
      device_name: mostly(device),
      dst_device_name: mostly(device),
      src_offset: mostly(byteCount),
      dst_offset: mostly(byteCount),
      size: mostly(byteCount),
      segments: mostly(fc.array(mostly(segment), { maxLength: 8 })),
      engine: mostly(fc.constantFrom('auto', 'cpu', 'dma')),
      durability: mostly(fc.constantFrom('flush', 'none')),
      verify: mostly(fc.constantFrom('none', 'crc32c')),
      timeout_ms: mostly(fc.integer({ min: 1, max: 1e9 })),
      priority: mostly(fc.constantFrom('high', 'normal', 'low')),
      labels: mostly(labels),
      depends_on: mostly(fc.array(fc.oneof(fc.uuid(), text, fc.constant('#0')), { maxLength: 3 })),
      dry_run: mostly(fc.boolean()),
    },
    { requiredKeys: ['device_name', 'size'] },
  )
  .chain((body) =>
    fc.oneof(
      { weight: 8, arbitrary: fc.constant(body as object) },
      {
        weight: 1,
        arbitrary: fc.tuple(text, anything).map(([key, value]) => ({ ...body, [key]: value })),
      },
      // Valid but for what else is wrong: gets further.
      {
        weight: 6,
        arbitrary: fc.constant(
          'segments' in body
            ? { device_name: body.device_name, segments: body.segments }
            : { src_offset: 0, dst_offset: 32_768, ...body },
        ),
      },
      { weight: 2, arbitrary: fc.constantFrom(...wholeOperations) },
    ),
  );

const bodyBytes = fc.oneof(
  { weight: 8, arbitrary: transferBody.map((body) => Buffer.from(JSON.stringify(body))) },
  { weight: 1, arbitrary: fc.json().map((json) => Buffer.from(json)) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)) },
  {
    // JSON with some bytes changed.
    weight: 2,
    arbitrary: fc
      .tuple(
        transferBody,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      )
      .map(([body, changes]) => {
        const bytes = Buffer.from(JSON.stringify(body));
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        return bytes;
      }),
  },
);

/** Requests to POST /transfers, with all sorts of bodies. */
export const transferRequest: fc.Arbitrary<InjectOptions> = fc
  .record({
    payload: bodyBytes,
    prefer: fc.option(prefer, { freq: 3 }),
    key: fc.option(fc.oneof(fc.constantFrom('k1', 'k2', 'k3'), text), { freq: 4 }),
    type: fc.oneof(
      { weight: 20, arbitrary: fc.constant('application/json') },
      { weight: 1, arbitrary: text },
    ),
  })
  .map(({ payload, prefer: wait, key, type }) => ({
    method: 'POST' as const,
    url: '/transfers',
    payload,
    headers: headersOf({
      'content-type': type,
      ...(wait !== null && { prefer: wait }),
      ...(key !== null && { 'idempotency-key': key }),
    }),
  }));

const id = fc.oneof(fc.uuid(), fc.constant('ID'), text.map(encode));
/** A body of PATCH /transfers/{id}, or nearly. */
const patchBody = fc.record(
  {
    priority: mostly(fc.constantFrom('high', 'low', null)),
    timeout_ms: mostly(fc.option(fc.integer({ min: 1, max: 1e6 }))),
    labels: mostly(fc.option(labels)),
    size: anything,
  },
  { requiredKeys: [] },
);

const name = fc.oneof(device.map(encodeURIComponent), text.map(encode));
const path = fc.oneof(
  fc.constantFrom(
    '/transfers',
    '/devices',
    '/engines',
    '/livez',
    '/readyz',
    '/version',
    '/metrics',
    '/whoami',
  ),
  fc.constantFrom('/openapi.json', '/docs', '/docs/', '/docs/json', '/docs/static/..%2f', '/', '*'),
  id.map((value) => `/transfers/${value}`),
  id.map((value) => `/transfers/${value}/cancel`),
  id.map((value) => `/transfers/${value}/events`),
  name.map((value) => `/devices/${value}`),
  name.map((value) => `/devices/${value}/content`),
  name.map((value) => `/devices/${value}/checksum`),
  name.map((value) => `/devices/${value}/digests`),
  fc.constantFrom('/events', '/problems/forbidden', '/problems/x'),
  fc.webPath().map((value) => `/${value}`),
  text.map((value) => `/${encode(value)}`),
);
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const queryName = fc.constantFrom(
  ...['offset', 'size', 'status', 'device_name', 'engine', 'label', 'page_size', 'page_token', 'x'],
  ...['durability', 'operation', 'view', 'created_after', 'created_before', 'block_size'],
);
const queryValue = fc.oneof(
  byteCount.map(String),
  text,
  fc.constantFrom('k:v', 'failed', 'queued,running', 'cpu', '3', 'flush', 'none', 'fill', 'basic'),
  fc.constantFrom('2026-11-27T08:30:00Z', '2026-11-27T08:30:00+05:00', '4KiB', 'sha256'),
);
const query = fc
  .array(fc.tuple(fc.oneof(queryName, queryName, text), queryValue), { maxLength: 3 })
  .map((pairs) => pairs.map(([key, value]) => `${encode(key)}=${encode(value)}`).join('&'));
const method = fc.constantFrom(
  ...(['GET', 'GET', 'GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'PATCH', 'OPTIONS'] as const),
);
const fields = fc.dictionary(
  fc.constantFrom(
    ...[
      'accept',
      'range',
      'if-range',
      'prefer',
      'content-type',
      'content-encoding',
      'host',
      'expect',
    ],
    ...['idempotency-key', 'accept-encoding', 'origin', 'cookie', 'authorization', 'content-range'],
    ...['if-match', 'if-none-match', 'if-unmodified-since', 'content-digest', 'sec-fetch-site'],
    ...['transfer-encoding', 'want-repr-digest', 'last-event-id', 'via', 'traceparent'],
    ...['tracestate'],
  ),
  fc.oneof(
    text,
    prefer,
    fc.constantFrom('*/*', 'application/json', 'application/octet-stream', 'text/html', 'gzip'),
    fc.constantFrom('*', '"x"', 'same-origin', 'cross-site', 'chunked', 'gzip, chunked', 'null'),
    fc.constantFrom('sha-256=10, crc32c=1', 'return=minimal', '0123456789ab-1', TRACEPARENT),
    fc.constantFrom('crc32c=:AAAAAA==:', 'sha-256=:AAAA:', 'http://localhost', '100-continue'),
    fc.tuple(byteCount, byteCount).map(([first, last]) => `bytes=${first}-${last}`),
  ),
  { maxKeys: 3 },
);

/** Changes of transfers: `ID` in the path stands for one that there is. */
export const patchRequest: fc.Arbitrary<InjectOptions> = fc
  .record({
    id: fc.oneof({ weight: 4, arbitrary: fc.constant('ID') }, id),
    payload: fc.oneof(
      { weight: 6, arbitrary: patchBody.map((body) => Buffer.from(JSON.stringify(body))) },
      bodyBytes,
    ),
    type: fc.oneof(
      { weight: 12, arbitrary: fc.constant('application/merge-patch+json') },
      fc.constant('application/json'),
      text,
    ),
  })
  .map(({ id, payload, type }) => ({
    method: 'PATCH' as const,
    url: `/transfers/${id}`,
    payload,
    headers: headersOf({ 'content-type': type }),
  }));

/** Requests to POST /transfers/batch. */
export const batchRequest: fc.Arbitrary<InjectOptions> = fc
  .record({
    transfers: mostly(
      fc.array(
        fc
          .tuple(transferBody, fc.option(fc.constantFrom('b1', 'b2', 'b3', ''), { freq: 3 }))
          .map(([body, key]) => ({ ...body, ...(key !== null && { idempotency_key: key }) })),
        { minLength: 1, maxLength: 5 },
      ),
    ),
    minimal: fc.boolean(),
  })
  .map(({ transfers, minimal }) => ({
    method: 'POST' as const,
    url: '/transfers/batch',
    payload: Buffer.from(JSON.stringify({ transfers })),
    headers: { 'content-type': 'application/json', ...(minimal && { prefer: 'return=minimal' }) },
  }));

/** Requests to anywhere. */
export const anyRequest: fc.Arbitrary<InjectOptions> = fc
  .record({ method, path, query, fields, payload: fc.option(bodyBytes, { freq: 2 }) })
  // A stream of events does not end by itself.
  .filter((request) => request.method !== 'GET' || !request.path.endsWith('/events'))
  .map(({ method, path, query, fields, payload }) => ({
    method,
    url: query === '' ? path : `${path}?${query}`,
    headers: headersOf(fields),
    ...(payload !== null && { payload }),
  }));

interface Framing {
  version: string;
  /** Of the body in transfer; null: it has a length. */
  coding: string | null;
}
const framing: fc.Arbitrary<Framing> = fc.record({
  version: fc.constantFrom('1.1', '1.1', '1.1', '1.0'),
  coding: fc.constantFrom(null, null, 'chunked', 'gzip, chunked', 'gzip'),
});

/** The same as bytes, and bytes that are none. */
export const anyBytes: fc.Arbitrary<Buffer> = fc
  .oneof(
    { weight: 4, arbitrary: anyRequest },
    { weight: 2, arbitrary: transferRequest },
    { weight: 1, arbitrary: fc.constant(undefined) },
  )
  .chain((request) => {
    if (request === undefined) {
      return fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
    }
    const changed = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 });
    return fc.tuple(changed, framing).map(([changes, how]) => {
      const bytes = requestBytes(request, how);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes;
    });
  });

function requestBytes(
  { method = 'GET', url, headers = {}, payload }: InjectOptions,
  { version, coding }: Framing,
): Buffer {
  const body = Buffer.isBuffer(payload) ? payload : Buffer.alloc(0);
  const length =
    coding === null ? { 'content-length': body.length } : { 'transfer-encoding': coding };
  const all = { host: 'localhost', connection: 'close', ...length, ...headers };
  const lines = Object.entries(all).map(([key, value]) => `${key}: ${value}\r\n`);
  const chunk = body.length > 0 ? [`${body.length.toString(16)}\r\n`, body, '\r\n'] : [];
  return Buffer.concat([
    Buffer.from(`${method} ${url} HTTP/${version}\r\n${lines.join('')}\r\n`, 'latin1'),
    ...(coding === null ? [body] : [...chunk, '0\r\n\r\n'].map((part) => Buffer.from(part))),
  ]);
}

/** Values that an HTTP library would send. */
function headersOf(values: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      key,
      value.replace(/[^\t\x20-\x7e\x80-\xff]/g, '').trim(),
    ]),
  );
}

/** Percent-encoded where it must be; what cannot be encoded goes as it is. */
function encode(value: string): string {
  return !/\p{Surrogate}/u.test(value) && !/^%/.test(value) ? encodeURIComponent(value) : '%ff';
}

/** Sends them at once, and holds each answer to the contract. @throws for one that does not hold */
export async function sendAll(app: TestApp, requests: InjectOptions[]): Promise<void> {
  await Promise.all(
    requests.map(async (request) => {
      const response = await app.http.inject(request);
      const { statusCode: status, headers, rawPayload: body } = response;
      const { method = 'GET', url } = request;
      if (status === 500) throw new Error(`500 for ${describe(request)}: ${body}`);
      try {
        app.conformance.check(method, url as string, { status, headers, body });
      } catch (error) {
        throw new Error(`${(error as Error).message}, for ${describe(request)}`);
      }
    }),
  );
}

function describe({ method, url, headers, payload }: InjectOptions): string {
  const body = Buffer.isBuffer(payload) ? payload.toString('latin1') : payload;
  return JSON.stringify({ method, url, headers, body });
}

/** Whether a transfer still does what it should. */
export async function stillCopies(app: TestApp): Promise<boolean> {
  const bytes = Buffer.from(`still here ${Date.now()}`);
  await app.inject({ method: 'PUT', url: '/devices/dax0.0/content', payload: bytes });
  const copy = { device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 9 };
  const request = { ...copy, size: bytes.length, verify: 'crc32c' };
  const response = await app.post(request, { prefer: 'wait=60' });
  const headers = { range: `bytes=9-${8 + bytes.length}` };
  const read = await app.ask({ url: '/devices/dax1.0/content', headers });
  return response.statusCode === 201 && read.body.equals(bytes);
}
