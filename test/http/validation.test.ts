// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';

const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const SEGMENT = { src_offset: 0, dst_offset: 16, size: 16 };

describe('what a request may say', () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startTestApp();
  });
  afterAll(() => app.close());

  /** Sends the text as it is, which an object cannot always say. */
  const send = (payload: string | Buffer) =>
    app.ask({
      method: 'POST',
      url: '/transfers',
      payload,
      headers: { 'content-type': 'application/json' },
    });
  const post = (body: unknown) => send(JSON.stringify(body));
  /** A dry run of COPY with one field written as the text says. */
  const withField = (name: string, text: string) => {
    const fields: Record<string, string> = { dry_run: 'true' };
    for (const [key, value] of Object.entries(COPY)) fields[key] = JSON.stringify(value);
    fields[name] = text;
    const pairs = Object.entries(fields).map(([key, value]) => `${JSON.stringify(key)}:${value}`);
    return send(`{${pairs.join(',')}}`);
  };

  describe('bodies that are no JSON object', () => {
    test.each([
      ['nothing', ''],
      ['white space', ' \n'],
      ['half an object', '{"device_name":'],
      ['a comment', '{/* */}'],
      ['a trailing comma', '{"device_name":"dax0.0",}'],
      ['single quotes', "{'device_name':'dax0.0'}"],
      ['two values', '{}{}'],
      ['NaN', '{"size":NaN}'],
      ['hex', '{"size":0x10}'],
      ['a leading plus', '{"size":+1}'],
      ['a leading zero', '{"size":01}'],
      ['a control character in a string', '{"device_name":"dax0.0\n"}'],
      ['a byte order mark', '\ufeff{}'],
      ['a number', '1'],
      ['a string', '"dax0.0"'],
      ['null', 'null'],
      ['true', 'true'],
      ['an array', '[]'],
      ['an array of one', `[${JSON.stringify(COPY)}]`],
      ['__proto__', '{"__proto__":{"device_name":"dax0.0"}}'],
      ['100,000 brackets', '['.repeat(100_000)],
      ['a deep array', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
      ['a deep object', `${'{"a":'.repeat(50_000)}1${'}'.repeat(50_000)}`],
    ])('%s', async (_name, text) => {
      expectProblem(await send(text), 400, 'invalid_request');
    });

    test.each([
      ['UTF-16', Buffer.from(JSON.stringify(COPY), 'utf16le')],
      ['Latin-1', Buffer.from('{"device_name":"d\u00e4x0.0"}', 'latin1')],
      ['an overlong form', Buffer.from('7b22c0af223a317d', 'hex')],
      ['a surrogate half as bytes', Buffer.from('7b22eda080223a317d', 'hex')],
      ['zero bytes', Buffer.alloc(10)],
      ['random bytes', Buffer.from('80818283feff', 'hex')],
    ])('%s', async (_name, bytes) => {
      expectProblem(await send(bytes), 400, 'invalid_request');
    });
  });

  describe('sizes', () => {
    test.each([
      ['16', 16],
      ['16.0', 16],
      ['1.6e1', 16],
      ['160e-1', 16],
      ['"16"', 16],
      ['"016"', 16],
      ['"0x10"', 16],
      ['"0xfF"', 255],
      ['"4KiB"', 4096],
      ['"0x0000000000000000000001"', 1],
    ])('%s is taken', async (text, bytes) => {
      const answer = await withField('size', text);
      expect(JSON.parse(answer.body.toString())).toMatchObject({ dry_run: true, bytes });
      expect(answer.status).toBe(200);
    });

    test.each([
      ...['0', '-0', '0.0', '-1', '1.5', '1e-1', '1e400', '-1e400', '9007199254740992', 'null'],
      ...['true', '[]', '[16]', '{}', '""', '" 16"', '"16 "', '"+16"', '"-16"', '"16.0"', '"1e3"'],
      ...[
        '"0"',
        '"0x0"',
        '"0KiB"',
        '"0x"',
        '"0X10"',
        '"10h"',
        '"x10"',
        '"0b1"',
        '"0o7"',
        '"1_000"',
      ],
      ...['"1,000"', '"16KB"', '"16kib"', '"16 KiB"', '"16K"', '"16TiB"', '"1.5KiB"', '"0x1KiB"'],
      ...['"9007199254740992"', '"0x20000000000000"', '"8388608GiB"', '"\u0661"', '"16\\u0000"'],
      ...['"NaN"', '"Infinity"', '"1\\n"', `"${'9'.repeat(400)}"`, `"${'0'.repeat(100_000)}1"`],
    ])('%s is not', async (text) => {
      expectProblem(await withField('size', text), 400, 'invalid_request', ['/size']);
    });

    test('the largest that can be said is out of range, not wrong', async () => {
      for (const text of ['9007199254740991', '"9007199254740991"', '"0x1fffffffffffff"']) {
        expectProblem(await withField('size', text), 422, 'out_of_range', ['/size']);
        expectProblem(await withField('src_offset', text), 422, 'out_of_range', ['/src_offset']);
      }
      expectProblem(await withField('size', '"8388607GiB"'), 422, 'out_of_range', ['/size']);
    });

    test('offsets may be 0 and -0, which is answered as 0', async () => {
      for (const text of ['0', '-0', '0.0', '-0.0', '0e5', '"0"', '"0x0"', '"0GiB"']) {
        const answer = await withField('src_offset', text);
        expect(answer.status).toBe(200);
        expect(answer.body.toString()).toContain('"src_offset":0,');
      }
      expectProblem(await withField('src_offset', '-1'), 400, 'invalid_request', ['/src_offset']);
    });

    test('spelled alike, they are alike', async () => {
      const body = { ...COPY, src_offset: '0x1000', dst_offset: '8KiB', size: '1024' };
      const answer = await post(body);
      expect(answer.status).toBe(201);
      expect(JSON.parse(answer.body.toString())).toMatchObject({
        src_offset: 4096,
        dst_offset: 8192,
        size: 1024,
      });
    });
  });

  describe('fields', () => {
    test.each([
      ['device_name', '1'],
      ['device_name', 'null'],
      ['device_name', '["dax0.0"]'],
      ['dst_device_name', 'null'],
      ['dst_device_name', '{}'],
      ['src_offset', 'null'],
      ['dst_offset', 'false'],
      ['segments', 'null'],
      ['engine', '"gpu"'],
      ['engine', '"CPU"'],
      ['engine', 'null'],
      ['durability', '"fsync"'],
      ['durability', 'true'],
      ['verify', '"md5"'],
      ['verify', 'true'],
      ['verify', 'null'],
      ['timeout_ms', '0'],
      ['timeout_ms', '-0'],
      ['timeout_ms', '86400001'],
      ['timeout_ms', '1.5'],
      ['timeout_ms', '"1000"'],
      ['timeout_ms', 'null'],
      ['priority', '"urgent"'],
      ['priority', '1'],
      ['labels', 'null'],
      ['labels', '[]'],
      ['labels', '"a:b"'],
      ['dry_run', 'null'],
      ['dry_run', '"true"'],
      ['dry_run', '1'],
      ['Size', '1'],
      ['constructor', '1'],
      ['toString', '1'],
      ['', '1'],
      ['a/b~c', '1'],
    ])('%s: %s', async (name, text) => {
      const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
      const problem = expectProblem(await withField(name, text), 400, 'invalid_request');
      const pointers = problem.errors?.map((error) => error.pointer);
      // Segments beside the three fields are three more things that are wrong.
      if (name === 'segments') expect(pointers).toContain(pointer);
      else expect(pointers).toEqual([pointer]);
    });

    test.each([
      ['timeout_ms', '86400000'],
      ['timeout_ms', '1.0'],
      ['timeout_ms', '1e3'],
      ['priority', '"low"'],
      ['durability', '"none"'],
      ['verify', '"crc32c"'],
      ['labels', '{}'],
      ['engine', '"cpu"'],
    ])('%s: %s is taken', async (name, text) => {
      expect((await withField(name, text)).status).toBe(200);
    });

    test('every missing field is named, and every unknown one', async () => {
      const missing = ['/device_name', '/dst_offset', '/size', '/src_offset'];
      expectProblem(await post({}), 400, 'invalid_request', missing);
      const { size: _, ...rest } = COPY;
      expectProblem(await post({ ...rest, Size: 1, colour: 2 }), 400, 'invalid_request', [
        ...['/size', '/Size', '/colour'],
      ]);
    });

    test('segments or the three fields, not both', async () => {
      const body = { device_name: 'dax0.0', segments: [SEGMENT] };
      expect((await post({ ...body, dry_run: true })).status).toBe(200);
      const both = await post({ ...body, ...SEGMENT });
      expectProblem(both, 400, 'invalid_request', ['/dst_offset', '/size', '/src_offset']);
      const one = await post({ ...body, size: 16 });
      expectProblem(one, 400, 'invalid_request', ['/size']);
    });

    test.each([
      [[], ['/segments']],
      [{}, ['/segments']],
      ['0', ['/segments']],
      [[null], ['/segments/0']],
      [[SEGMENT, 1], ['/segments/1']],
      [[SEGMENT, []], ['/segments/1']],
      [[{ ...SEGMENT, size: 0 }], ['/segments/0/size']],
      [[{ ...SEGMENT, colour: 1 }], ['/segments/0/colour']],
      [[{ src_offset: 0 }], ['/segments/0/dst_offset', '/segments/0/size']],
      [
        [SEGMENT, { ...SEGMENT, src_offset: -1, size: 'x' }],
        ['/segments/1/src_offset', '/segments/1/size'],
      ],
    ])('segments: %j', async (segments, pointers) => {
      const answer = await post({ device_name: 'dax0.0', segments });
      expectProblem(answer, 400, 'invalid_request', pointers);
    });

    test('1 to 4096 segments', async () => {
      const body = (count: number) => ({
        device_name: 'dax0.0',
        segments: Array(count).fill(SEGMENT),
      });
      expect((await post(body(4096))).status).toBe(201);
      expectProblem(await post(body(4097)), 400, 'invalid_request', ['/segments']);
    });

    test('thousands of mistakes make a short answer', async () => {
      const answer = await post({ device_name: 'dax0.0', segments: Array(4096).fill({}) });
      const problem = expectProblem(answer, 400, 'invalid_request');
      expect(problem.errors?.length).toBeGreaterThan(0);
      expect(answer.body.length).toBeLessThan(16_384);
      const fields = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`f${i}`, i]));
      const unknown = await post({ ...COPY, ...fields });
      expectProblem(unknown, 400, 'invalid_request');
      expect(unknown.body.length).toBeLessThan(16_384);
    });

    test('of duplicate keys the last counts', async () => {
      const text = JSON.stringify(COPY).replace('}', ',"size":"bad","size":512}');
      const answer = await send(text);
      expect(answer.status).toBe(201);
      expect(JSON.parse(answer.body.toString()).size).toBe(512);
    });
  });

  describe('labels', () => {
    const labelled = (labels: unknown) => post({ ...COPY, labels });

    test('come back as they were', async () => {
      const labels = {
        a: '',
        'with space': 'and: colon, "quotes" \\ \u{1f600}',
        ['k'.repeat(63)]: 'v'.repeat(255),
        ['\u{1f600}'.repeat(63)]: '\u{1f600}'.repeat(255),
        constructor: 'x',
        toString: 'y',
      };
      const answer = await labelled(labels);
      expect(answer.status).toBe(201);
      expect(JSON.parse(answer.body.toString()).labels).toEqual(labels);
    });

    test('16 of them, not 17', async () => {
      const some = (count: number) =>
        Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']));
      expect((await labelled(some(16))).status).toBe(201);
      expectProblem(await labelled(some(17)), 400, 'invalid_request', ['/labels']);
    });

    test.each([
      [{ '': 'v' }, '/labels/'],
      [{ ['k'.repeat(64)]: 'v' }, `/labels/${'k'.repeat(64)}`],
      [{ 'a:b': 'v' }, '/labels/a:b'],
      [{ k: 'v'.repeat(256) }, '/labels/k'],
      [{ k: 1 }, '/labels/k'],
      [{ k: null }, '/labels/k'],
      [{ k: {} }, '/labels/k'],
      [{ 'a/b~': 1 }, '/labels/a~1b~0'],
    ])('%j', async (labels, pointer) => {
      expectProblem(await labelled(labels), 400, 'invalid_request', [pointer]);
    });
  });

  describe('queries', () => {
    test.each([
      ['/transfers?page_size=0', '/page_size'],
      ['/transfers?page_size=-1', '/page_size'],
      ['/transfers?page_size=1.0', '/page_size'],
      ['/transfers?page_size=x', '/page_size'],
      ['/transfers?page_size=', '/page_size'],
      ['/transfers?page_size=1&page_size=2', '/page_size'],
      ['/transfers?page_token=x', '/page_token'],
      ['/transfers?status=done', '/status'],
      ['/transfers?engine=gpu', '/engine'],
      ['/transfers?label=novalue', '/label'],
      ['/transfers?label=:v', '/label'],
      ['/transfers?colour=blue', '/colour'],
      ['/transfers?Status=queued', '/Status'],
      ['/transfers?__proto__=1', '/__proto__'],
      ['/transfers?wait=1', '/wait'],
      ['/transfers/none?x=1', '/x'],
      ['/devices?x=1', '/x'],
      ['/devices/dax0.0?x=1', '/x'],
      ['/devices/dax0.0/content?offset=1', '/offset'],
      ['/devices/dax0.0/checksum?offset=-1', '/offset'],
      ['/devices/dax0.0/checksum?offset=1.0', '/offset'],
      ['/devices/dax0.0/checksum?offset=0&offset=1', '/offset'],
      ['/devices/dax0.0/checksum?size=0', '/size'],
      ['/devices/dax0.0/checksum?size=1MB', '/size'],
      ['/devices/dax0.0/checksum?length=1', '/length'],
      ['/engines?x', '/x'],
      ['/livez?x=1', '/x'],
      ['/readyz?x=1', '/x'],
      ['/version?x=1', '/x'],
      ['/metrics?x=1', '/x'],
      ['/events?x=1', '/x'],
      ['/transfers/none/events?x=1', '/x'],
    ])('GET %s', async (url, pointer) => {
      expectProblem(await app.ask({ url }), 400, 'invalid_request', [pointer]);
    });

    test('as many labels as a transfer can have, and no more', async () => {
      const url = `/transfers?${Array.from({ length: 16 }, (_, index) => `label=k${index}:v`).join('&')}`;
      expect((await app.ask({ url })).status).toBe(200);
      const answer = await app.ask({ url: `${url}&label=one:more` });
      const { errors } = expectProblem(answer, 400, 'invalid_request', ['/label']);
      expect(errors?.[0]?.detail).toBe('may be given up to 16 times');
    });

    test.each([
      ['POST', '/transfers?dry_run=true'],
      ['POST', '/transfers/none/cancel?force=1'],
      ['PUT', '/devices/dax0.0/content?size=1'],
    ] as const)('%s %s', async (method, url) => {
      const payload = method === 'PUT' ? 'x' : COPY;
      expectProblem(await app.ask({ method, url, payload }), 400, 'invalid_request');
    });

    test.each([
      '/transfers?page_size=1001',
      '/transfers?page_size=007',
      `/transfers?page_size=${'9'.repeat(30)}`,
      '/transfers?page_token=',
      '/transfers?device_name=%2Fdev%2Fdax0.0',
      '/transfers?device_name=unheard-of',
      '/transfers?label=k:',
      '/transfers?label=a:b:c&label=d:e',
      '/devices/dax0.0/checksum?offset=0x10&size=4KiB',
      '/devices/dax0.0/checksum?',
    ])('GET %s is fine', async (url) => {
      expect((await app.ask({ url })).status).toBe(200);
    });

    test('paths that cannot be decoded', async () => {
      for (const url of ['/transfers/%', '/transfers/%zz', '/devices/%ff/content', '/%c0%af']) {
        expectProblem(await app.ask({ url }), 400, 'invalid_request');
      }
    });

    test.each(['/transfers/ID', '/transfers/ID/events', '/devices/ID/content'])(
      'nothing has a very long name: %s',
      async (url) => {
        for (const length of [101, 5000]) {
          const answer = await app.ask({ url: url.replace('ID', 'x'.repeat(length)) });
          expectProblem(answer, 404, 'not_found');
        }
      },
    );
  });
});
