// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EXPLANATIONS } from '../../services/daemon/problems/explanations.ts';
import { PROBLEMS } from '../../services/daemon/problems/problem.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { writeTokens } from '../support/tokens.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

describe('GET /', () => {
  test.each([undefined, '*/*', 'application/json'])('tells a program: %s', async (accept) => {
    const answer = await app.ask({ url: '/', headers: accept === undefined ? {} : { accept } });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body.toString())).toEqual({
      ...{ name: 'dmad', version: expect.any(String) },
      ...{ docs: '/docs', openapi: '/openapi.json' },
    });
  });

  test('sends a browser on', async () => {
    const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
    const answer = await app.ask({ url: '/', headers: { accept } });
    expect(answer.status).toBe(302);
    const { pathname } = new URL(answer.headers.location as string, 'http://localhost/');
    expect(pathname).toBe('/docs');
  });
});

describe('GET /problems/{code}', () => {
  test.each(Object.keys(PROBLEMS))('explains %s', async (code) => {
    const url = `/problems/${code}`;
    const answer = await app.ask({ url });
    expect(answer.status).toBe(200);
    const { title, status } = PROBLEMS[code as keyof typeof PROBLEMS];
    expect(JSON.parse(answer.body.toString())).toMatchObject({
      ...{ type: url, code, title, status },
      ...EXPLANATIONS[code as keyof typeof PROBLEMS],
    });
    const page = await app.ask({ url, headers: { accept: 'text/html' } });
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8');
    expect(page.body.toString()).toContain(`<h1>${title}</h1>`);
  });

  test('is where the type of a problem leads', async () => {
    const problem = expectProblem(await app.ask({ url: '/transfers/x' }), 404, 'not_found');
    expect((await app.ask({ url: problem.type as string })).status).toBe(200);
  });

  test.each(['/problems/x', '/problems/toString', '/problems/__proto__'])(
    '%s is not found',
    async (url) => {
      expectProblem(await app.ask({ url }), 404, 'not_found');
    },
  );
});

test('neither needs a token', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-root-'));
  const tokens = writeTokens(directory, [{ name: 'anna' }]);
  const guarded = await startTestApp({ environment: { DMAD_TOKENS_FILE: tokens } });
  for (const url of ['/', '/problems/forbidden']) {
    expect((await guarded.ask({ url })).status).toBe(200);
  }
  await guarded.close();
  rmSync(directory, { recursive: true });
});
