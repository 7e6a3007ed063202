// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { EXPLANATIONS } from '../../services/http/problems/explanations.ts';
import { PROBLEMS } from '../../services/http/problems/problem.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { writeTokens } from '../support/tokens.ts';

/** Of the contract, and Trusted Types. */
const POLICY =
  /^default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'$/;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

describe('what is loaded when somebody asks for it', () => {
  test.each([
    ['/docs', 'text/html; charset=utf-8'],
    ['/docs/', 'text/html; charset=utf-8'],
    ['/docs/json', 'application/json; charset=utf-8'],
    ['/docs/yaml', 'application/x-yaml'],
    ['/docs/static/swagger-ui.css', 'text/css; charset=utf-8'],
  ])('%s is %s, also to HEAD and to one that has it', async (url, type) => {
    const { status, headers, body } = await app.ask({ url });
    expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type });
    expect(headers['content-length']).toBe(String(body.length));
    expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
    const head = await app.ask({ method: 'HEAD', url });
    expect(head.headers['content-length']).toBe(headers['content-length']);
    expect(head.body).toHaveLength(0);
    const { etag } = headers;
    if (etag === undefined) return;
    for (const method of ['GET', 'HEAD'] as const) {
      const again = await app.ask({ method, url, headers: { 'if-none-match': String(etag) } });
      expect(again.status).toBe(304);
      // What a cache has keeps its type and its length.
      expect(again.headers['content-type']).toBeUndefined();
      expect(again.headers['content-length']).toBeUndefined();
      expect(again.headers.etag).toBe(etag);
    }
  });

  test('there is nothing else, and nothing that takes another method', async () => {
    for (const url of [
      '/docs/nothing',
      '/docs/static/nothing',
      '/docs/static/../x',
      '/docs/static/%00',
    ]) {
      expectProblem(await app.ask({ url }), 404, 'not_found');
    }
    expectProblem(await app.ask({ method: 'POST', url: '/docs/json' }), 405, 'method_not_allowed');
    // Swagger UI's own page there shows somebody else's document.
    for (const url of ['/docs/static/index.html', '/docs/static/']) {
      const moved = await app.ask({ url });
      expect({ url, status: moved.status, location: moved.headers.location }).toEqual({
        ...{ url, status: 302, location: '../' },
      });
    }
  });

  test('a file comes whole, and not if it is another one than the client says', async () => {
    const url = '/docs/static/swagger-ui.css';
    const { body } = await app.ask({ url });
    for (const range of ['bytes=0-9', 'bytes=999999999-']) {
      const answer = await app.ask({ url, headers: { range } });
      expect({ status: answer.status, length: answer.body.length }).toEqual({
        ...{ status: 200, length: body.length },
      });
      expect(answer.headers['accept-ranges']).toBeUndefined();
    }
    for (const headers of [
      { 'if-match': '"x"' },
      { 'if-unmodified-since': 'Thu, 01 Jan 2015 00:00:00 GMT' },
    ]) {
      expectProblem(await app.ask({ url, headers }), 412, 'precondition_failed');
    }
  });
});

describe('GET /', () => {
  test.each([undefined, '*/*', 'application/json'])('tells a program: %s', async (accept) => {
    const answer = await app.ask({ url: '/', headers: accept === undefined ? {} : { accept } });
    expect(answer.status).toBe(200);
    expect(answer.headers.vary).toBe('Accept');
    expect(JSON.parse(answer.body.toString())).toEqual({
      ...{ name: 'dmad', version: expect.any(String) },
      ...{ docs: '/docs', openapi: '/openapi.json' },
    });
  });

  test('shows a browser the dashboard, which may load nothing from elsewhere', async () => {
    const accept = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';
    const answer = await app.ask({ url: '/', headers: { accept } });
    expect(answer.status).toBe(200);
    expect(answer.headers).toMatchObject({
      ...{ 'content-type': 'text/html; charset=utf-8', 'x-content-type-options': 'nosniff' },
      ...{ 'content-security-policy': expect.stringMatching(POLICY), vary: 'Accept' },
    });
    const html = answer.body.toString();
    const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url]) => url as string);
    const assets = links.filter((url) => url.includes('assets/'));
    // Relative: a proxy may have put a prefix before all paths.
    expect(links.filter((url) => /^(?:\/|[a-z]+:)/.test(url))).toEqual([]);
    expect(assets.length).toBeGreaterThanOrEqual(3);
    for (const url of assets) {
      const { status, headers } = await app.ask({ url: url.replace(/^\./, '') });
      expect(status).toBe(200);
      expect(headers['cache-control']).toBe('public, max-age=31536000, immutable');
      expect(headers['content-security-policy']).toMatch(POLICY);
    }
  });

  test.each(['/assets/', '/assets/x.js', '/assets/../index.html', '/assets/%2e%2e/index.html'])(
    'there is no %s',
    async (url) => {
      expectProblem(await app.ask({ url }), 404, 'not_found');
    },
  );
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
