// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import Fastify, { type FastifyInstance } from 'fastify';
import { z } from 'zod';
import { byteCount } from '../../../services/base/byte-count.ts';
import { transferRequestSchema } from '../../../services/daemon/transfers/request-schema.ts';
import jsonBody from '../../../services/http/json-body.ts';
import problemHandler from '../../../services/http/problem-handler.ts';
import type { FieldError, ProblemDetails } from '../../../services/http/problems/problem.ts';
import validation from '../../../services/http/validation.ts';
import { runs } from '../../support/depth.ts';

describe('validation', () => {
  let app: FastifyInstance;
  beforeAll(async () => {
    app = Fastify();
    await app.register(problemHandler);
    await app.register(jsonBody);
    await app.register(validation);
    app.post('/transfers', { schema: { body: transferRequestSchema } }, (request) => request.body);
    app.post(
      '/odd',
      {
        schema: {
          body: z.strictObject({ 'a/b': z.strictObject({ 'c~d': z.array(byteCount(0)) }) }),
          querystring: z.strictObject({ 'x/y': z.string() }),
        },
      },
      (request) => request.body,
    );
    await app.ready();
  });
  afterAll(() => app.close());

  async function post(url: string, payload: unknown) {
    const response = await app.inject({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify(payload),
    });
    return { status: response.statusCode, problem: response.json() as ProblemDetails };
  }
  async function errors(payload: unknown, url = '/transfers'): Promise<FieldError[]> {
    const { status, problem } = await post(url, payload);
    expect(status).toBe(400);
    expect(problem.code).toBe('invalid_request');
    expect(problem.detail).toContain(problem.errors?.[0]?.detail ?? '?');
    return problem.errors ?? [];
  }
  const pointers = async (payload: unknown, url?: string) =>
    (await errors(payload, url)).map(({ pointer }) => pointer).sort();

  const good = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };

  test('lets through what is right, with defaults filled in', async () => {
    const { status, problem } = await post('/transfers', { ...good, size: '4KiB' });
    expect(status).toBe(200);
    expect(problem).toMatchObject({ size: 4096, engine: 'auto', labels: {}, dry_run: false });
  });

  test.each<[string, object, string[]]>([
    ['a missing field', { ...good, size: undefined }, ['/size']],
    ['a missing device', { ...good, device_name: undefined }, ['/device_name']],
    ['all that is missing', {}, ['/device_name', '/dst_offset', '/size', '/src_offset']],
    ['an unknown field', { ...good, sizes: 1 }, ['/sizes']],
    ['unknown fields, each', { ...good, x: 1, y: 2 }, ['/x', '/y']],
    ['an unknown field whose name needs escapes', { ...good, 'a/b~c': 1 }, ['/a~1b~0c']],
    ['an unknown field without a name', { ...good, '': 1 }, ['/']],
    ['a wrong type', { ...good, size: [] }, ['/size']],
    ['null', { ...good, timeout_ms: null }, ['/timeout_ms']],
    ['size 0', { ...good, size: 0 }, ['/size']],
    ['a fraction', { ...good, src_offset: 0.5 }, ['/src_offset']],
    ['a negative number', { ...good, dst_offset: -1 }, ['/dst_offset']],
    ['above 2^53-1', { ...good, size: 2 ** 53 }, ['/size']],
    ['several wrong ones', { ...good, size: 'x', engine: 'gpu' }, ['/engine', '/size']],
    [
      'segments beside the three',
      { ...good, segments: [] },
      ['/dst_offset', '/segments', '/size', '/src_offset'],
    ],
    [
      'what is wrong in a segment',
      {
        device_name: 'a',
        segments: [
          { src_offset: 0, dst_offset: 0, size: 1 },
          { src_offset: 0, size: 0, length: 1 },
        ],
      },
      ['/segments/1/dst_offset', '/segments/1/length', '/segments/1/size'],
    ],
    ['a segment that is none', { device_name: 'a', segments: [7] }, ['/segments/0']],
    ['a label that is no string', { ...good, labels: { a: 1 } }, ['/labels/a']],
    ['a label key with a colon', { ...good, labels: { 'a:b': 'x' } }, ['/labels/a:b']],
    ['a label key with escapes', { ...good, labels: { 'a/~': 1 } }, ['/labels/a~1~0']],
    ['an empty label key', { ...good, labels: { '': 'x' } }, ['/labels/']],
    ['a label that is too long', { ...good, labels: { a: 'x'.repeat(256) } }, ['/labels/a']],
    ['a timeout of a day and more', { ...good, timeout_ms: 86_400_001 }, ['/timeout_ms']],
  ])('points to %s', async (_name, body, expected) => {
    expect(await pointers(body)).toEqual(expected);
  });

  test.each([[[]], ['text'], [7], [null], [true]])(
    'points to the body where it is %j',
    async (body) => {
      expect(await pointers(body)).toContain('');
    },
  );

  test('says what is required and what is not known', async () => {
    expect(await errors({ ...good, size: undefined, sise: 1 })).toEqual(
      expect.arrayContaining([
        { pointer: '/size', detail: expect.stringContaining('required') },
        { pointer: '/sise', detail: expect.stringContaining('not known') },
      ]),
    );
  });

  test('escapes names on the way down', async () => {
    expect(await pointers({ 'a/b': { 'c~d': [1, 'x'] } }, '/odd?x/y=1')).toEqual(['/a~1b/c~0d/1']);
    expect(await pointers({ 'a/b': { 'c~d': [] } }, '/odd')).toEqual(['/x~1y']);
  });

  test('says one thing of each place, and not more than 32 in all', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(
          fc.constantFrom('device_name', 'size', 'segments', 'labels', 'engine', 'x', 'y/~'),
          fc.jsonValue({ maxDepth: 2 }),
        ),
        async (body) => {
          const { status, problem } = await post('/transfers', body);
          if (status === 200) return;
          const found = (problem.errors ?? []).map(({ pointer }) => pointer);
          expect(status).toBe(400);
          expect(found.length).toBeGreaterThan(0);
          expect(new Set(found).size).toBe(found.length);
        },
      ),
      { numRuns: runs(120) },
    );
    const segments = Array.from({ length: 4096 }, () => ({ src_offset: -1, size: 0, x: 1 }));
    const found = await errors({ device_name: 'a', segments });
    expect(found).toHaveLength(32);
    expect(new Set(found.map(({ pointer }) => pointer)).size).toBe(32);
    const { problem } = await post('/transfers', { device_name: 'a', segments });
    expect(problem.detail).toContain(`${4096 * 4 - 1} more`);
  });
});
