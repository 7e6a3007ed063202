// SPDX-License-Identifier: Apache-2.0
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { Nginx } from '../support/nginx.ts';

const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 16 };
const MIB = 2 ** 20;

/** What clients meet that come through nginx, whose settings are its defaults but for what is said. */
describe('behind nginx', () => {
  let daemon: Daemon;
  let upstream: string;
  beforeAll(async () => {
    daemon = new Daemon({ DMAD_DEVICES: 'emulated:dax0.0=1MiB,emulated:dax1.0=16MiB' });
    upstream = await daemon.ready();
  });
  afterAll(async () => {
    expect((await daemon.stop()).code).toBe(0);
  });

  describe('by default', () => {
    let nginx: Nginx;
    beforeAll(async () => {
      nginx = await Nginx.start(`location / { proxy_pass ${upstream}; }`);
    });
    afterAll(() => nginx.stop());

    test.each([2, 12, 64])('%d MiB into a device with less room: 413, not 502', async (size) => {
      const body = Buffer.alloc(size * MIB);
      const url = `${nginx.url}/devices/dax0.0/content`;
      const answer = await fetchAnswer(url, { method: 'PUT', body });
      expect(answer.status).toBe(413);
      expect(JSON.parse(answer.body.toString()).code).toBe('payload_too_large');
    });

    test('uploads that are refused: 404, 412, 415', async () => {
      const body = Buffer.alloc(12 * MIB);
      const put = (path: string, headers: Record<string, string> = {}) =>
        fetchAnswer(`${nginx.url}${path}`, { method: 'PUT', body, headers });
      expect((await put('/devices/dax7.0/content')).status).toBe(404);
      expect((await put('/devices/dax1.0/content', { 'if-match': '"x"' })).status).toBe(412);
      const text = { 'content-type': 'text/plain' };
      expect((await put('/devices/dax0.0/content', text)).status).toBe(415);
    });

    test('events come as they happen', async () => {
      const stream = await fetch(`${nginx.url}/events`, { signal: AbortSignal.timeout(10_000) });
      expect(stream.status).toBe(200);
      const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
      const { id } = await fetchJson(`${nginx.url}/transfers`, jsonBody(COPY));
      let text = '';
      while (!text.includes(id)) {
        const { value } = await reader.read();
        text += Buffer.from(value ?? []).toString();
      }
      await reader.cancel();
    });
  });

  test('with HTTP/1.1 and connections that stay, the header of an idle stream comes at once', async () => {
    const nginx = await Nginx.start(
      `location / { proxy_pass ${upstream}; proxy_http_version 1.1; proxy_set_header Connection ""; }`,
    );
    try {
      const stream = await fetch(`${nginx.url}/events`, { signal: AbortSignal.timeout(5000) });
      expect(stream.status).toBe(200);
      await stream.body?.cancel();
    } finally {
      await nginx.stop();
    }
  });

  test('without buffering of requests an early 413 arrives too', async () => {
    const nginx = await Nginx.start(
      `location / { proxy_pass ${upstream}; proxy_request_buffering off; }`,
    );
    try {
      const answer = await fetchAnswer(`${nginx.url}/devices/dax0.0/content`, {
        method: 'PUT',
        body: Buffer.alloc(12 * MIB),
      });
      expect(answer.status).toBe(413);
    } finally {
      await nginx.stop();
    }
  });

  describe('under a prefix', () => {
    let nginx: Nginx;
    beforeAll(async () => {
      nginx = await Nginx.start(`location /dmad/ { proxy_pass ${upstream}/; }`);
    });
    afterAll(() => nginx.stop());

    test.each(['docs', 'docs/', 'docs/static/index.html'])('%s finds its parts', async (path) => {
      const page = await fetch(`${nginx.url}/dmad/${path}`);
      expect(page.status).toBe(200);
      const html = await page.text();
      const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link]) => link as string);
      expect(links.length).toBeGreaterThan(2);
      for (const link of links) {
        const url = new URL(link, page.url).href;
        expect(url).toContain('/dmad/');
        expect({ url, status: (await fetchAnswer(url)).status }).toEqual({ url, status: 200 });
      }
    });

    test.each(['openapi.json', 'docs/json'])('the servers of %s', async (path) => {
      const url = `${nginx.url}/dmad/${path}`;
      const { servers } = await fetchJson(url);
      const base = new URL(servers[0].url, url).href;
      expect(base.replace(/\/$/, '')).toBe(`${nginx.url}/dmad`);
    });

    test('Location leads to the transfer', async () => {
      const url = `${nginx.url}/dmad/transfers`;
      const { headers, body } = await fetchAnswer(url, jsonBody(COPY));
      const { id } = JSON.parse(body.toString());
      const location = new URL(String(headers.location), url).href;
      expect(location).toBe(`${nginx.url}/dmad/transfers/${id}`);
      expect((await fetchJson(location)).id).toBe(id);
    });
  });
});

/** Clients that people have, to the daemon itself. */
describe('curl and wget', () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-clients-'));
  const file = join(directory, 'large');
  let daemon: Daemon;
  let url: string;
  beforeAll(async () => {
    writeFileSync(file, Buffer.alloc(24 * MIB));
    daemon = new Daemon();
    url = await daemon.ready();
  });
  afterAll(async () => {
    expect((await daemon.stop()).code).toBe(0);
    rmSync(directory, { recursive: true, force: true });
  });

  const CURL = ['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', '-T', file];
  test.each([
    ['curl', CURL, /^413$/],
    ['curl that does not ask first', [...CURL, '-H', 'Expect:'], /^413$/],
    ['curl --http1.0', [...CURL, '--http1.0'], /^413$/],
    ['curl that closes', [...CURL, '-H', 'Expect:', '-H', 'Connection: close'], /^413$/],
    // It calls every body a form.
    [
      'wget',
      ['wget', '-S', '-O', '-', '--method=PUT', `--body-file=${file}`, '--tries=1'],
      /HTTP\/1\.1 415/,
    ],
  ] as [string, string[], RegExp][])(
    '%s reads why its upload is refused',
    async (_name, command, expected) => {
      expect(await outputOf([...command, `${url}/devices/dax0.0/content`])).toMatch(expected);
    },
  );
});

function outputOf([command = '', ...args]: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        output += data;
      });
    }
    child.once('error', reject);
    child.once('close', () => resolve(output));
  });
}
