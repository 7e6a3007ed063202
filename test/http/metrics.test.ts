// SPDX-License-Identifier: Apache-2.0
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';

const MIB = 2 ** 20;
let app: TestApp;
let port: number;
beforeAll(async () => {
  app = await startTestApp();
  port = await app.listen();
});
afterAll(() => app.close());

/** The value of a sample, by its name and labels; 0 while it is not there. */
async function value(sample: string): Promise<number> {
  const { payload } = await app.inject({ url: '/metrics' });
  const line = payload.split('\n').find((each) => each.startsWith(`${sample} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

/** Sends a request, and disconnects after some milliseconds. */
async function sendAndLeave(request: string, ms: number): Promise<void> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(request);
  await sleep(ms);
  socket.destroy();
}

async function becomes(sample: string, expected: number): Promise<void> {
  for (let tries = 0; (await value(sample)) !== expected && tries < 400; tries++) await sleep(20);
  expect([sample, await value(sample)]).toEqual([sample, expected]);
}

const HOST = 'host: localhost\r\n';
const requests = (labels: string) => `dmad_http_request_duration_seconds_count{${labels}}`;

describe('a client that leaves', () => {
  test('while it waits for a transfer is counted, with its time', async () => {
    const blocker = await app.block('dax0.0');
    const body = JSON.stringify({
      device_name: 'dax0.0',
      src_offset: 0,
      dst_offset: 4096,
      size: 1,
    });
    const header = `content-type: application/json\r\ncontent-length: ${body.length}\r\nprefer: wait=30`;
    await sendAndLeave(`POST /transfers HTTP/1.1\r\n${HOST}${header}\r\n\r\n${body}`, 200);
    const labels = 'method="POST",route="/transfers",kind="wait",status="client_closed"';
    await becomes(requests(labels), 1);
    const seconds = await value(`dmad_http_request_duration_seconds_sum{${labels}}`);
    expect(seconds).toBeGreaterThan(0.1);
    await blocker.release();
  });

  test('in the middle of its upload is counted, with what it has sent', async () => {
    const before = await value('dmad_content_bytes_total{direction="upload"}');
    const header = `content-type: application/octet-stream\r\ncontent-length: ${MIB}\r\n\r\n`;
    const request = `PUT /devices/dax1.0/content HTTP/1.1\r\n${HOST}${header}`;
    await sendAndLeave(request + 'x'.repeat(70_000), 300);
    await becomes('dmad_content_requests_total{direction="upload",result="client_closed"}', 1);
    expect(await value('dmad_content_bytes_total{direction="upload"}')).toBe(before + 70_000);
    const labels = 'method="PUT",route="/devices/:name/content",kind="content"';
    // It has only closed its own direction, so it is answered.
    await becomes(requests(`${labels},status="400"`), 1);
  });

  test('of a stream of events is counted', async () => {
    await sendAndLeave(`GET /events HTTP/1.1\r\n${HOST}\r\n`, 200);
    await becomes(requests('method="GET",route="/events",kind="stream",status="client_closed"'), 1);
  });
});

test('a client that sends no more once it is refused has had its answer', async () => {
  const header = `content-type: application/octet-stream\r\ncontent-length: ${MIB}\r\nif-match: "x"\r\nexpect: 100-continue`;
  const labels = 'method="PUT",route="/devices/:name/content",kind="content"';
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(`PUT /devices/dax1.0/content HTTP/1.1\r\n${HOST}${header}\r\n\r\n`);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1.1 412 /);
  socket.destroy();
  await becomes(requests(`${labels},status="412"`), 1);
  expect(await value(requests(`${labels},status="client_closed"`))).toBe(0);
});

test('uploads and downloads are counted, with their bytes', async () => {
  const counted = () =>
    Promise.all(
      ['upload', 'download'].flatMap((direction) => [
        value(`dmad_content_requests_total{direction="${direction}",result="complete"}`),
        value(`dmad_content_bytes_total{direction="${direction}"}`),
      ]),
    );
  const before = await counted();
  const payload = Buffer.alloc(300_000, 1);
  const headers = { 'content-type': 'application/octet-stream' };
  const url = '/devices/dax0.0/content';
  expect((await app.inject({ method: 'PUT', url, headers, payload })).statusCode).toBe(200);
  const range = { range: 'bytes=0-299999' };
  expect((await app.inject({ url, headers: range })).rawPayload).toEqual(payload);
  const more = [1, 300_000, 1, 300_000];
  expect(await counted()).toEqual(before.map((count, index) => count + (more[index] ?? 0)));
});

test('what waits for nothing is apart from what waits', async () => {
  const transfer = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
  const labels = (kind: string, status: number) =>
    requests(`method="POST",route="/transfers",kind="${kind}",status="${status}"`);
  expect((await app.post(transfer)).statusCode).toBe(201);
  expect(await value(labels('wait', 201))).toBe(1);
  expect((await app.post(transfer, { prefer: 'respond-async' })).statusCode).toBe(202);
  expect(await value(labels('plain', 202))).toBe(1);
  await app.inject({ url: '/devices' });
  expect(await value(requests('method="GET",route="/devices",kind="plain",status="200"'))).toBe(1);
});

describe('a scraper', () => {
  test.each([
    ['application/openmetrics-text; version=1.0.0; charset=utf-8'],
    ['application/openmetrics-text;version=0.0.1'],
    ['application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5'],
  ])('that wants %s gets OpenMetrics', async (accept) => {
    const { headers, payload } = await app.inject({ url: '/metrics', headers: { accept } });
    expect(headers['content-type']).toMatch(/^application\/openmetrics-text; version=1\.0\.0/);
    expect(payload).toMatch(/^# TYPE dmad_transfers counter$/m);
    expect(payload).toMatch(/^dmad_transfers_total\{/m);
    expect(payload).toMatch(/\n# EOF\n$/);
    expect(payload).not.toMatch(/\n\n/);
  });

  test.each([['*/*'], ['text/plain'], ['text/plain;version=0.0.4,*/*;q=0.1']])(
    'that wants %s gets the Prometheus format, however others asked before',
    async (accept) => {
      const { headers, payload } = await app.inject({ url: '/metrics', headers: { accept } });
      expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
      expect(payload).toMatch(/^# TYPE dmad_transfers_total counter$/m);
      expect(payload).not.toContain('# EOF');
    },
  );

  test('gets numbers, however soon after another one', async () => {
    const scrapes = await Promise.all(
      Array.from({ length: 8 }, () => app.inject({ url: '/metrics' })),
    );
    for (const { payload } of scrapes) expect(payload).not.toMatch(/ nan$/im);
  });
});
