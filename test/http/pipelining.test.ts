// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { Wire } from '../support/wire.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

const request = (path: string) => `GET ${path} HTTP/1.1\r\nhost: localhost\r\n\r\n`;

test('streams behind a stream on their connection are never opened, and it ends with its client', async () => {
  const wire = new Wire(await app.listen());
  wire.send(request('/events').repeat(100));
  while (app.http.eventStreams.size < 1) await sleep(5);
  await sleep(100);
  expect(app.http.eventStreams.size).toBe(1);
  const since = performance.now();
  wire.end();
  while (app.http.eventStreams.size > 0) await sleep(5);
  // Not only once a heartbeat, which is due each 15 s, cannot be written.
  expect(performance.now() - since).toBeLessThan(10_000);
});

test('16 at once are answered, and the connection goes on', async () => {
  const modest = new Wire(await app.listen());
  modest.send(request('/livez').repeat(16));
  for (let i = 0; i < 16; i++) expect((await modest.answer()).status).toBe(200);
  modest.send(request('/livez'));
  expect((await modest.answer()).status).toBe(200);
  modest.end();
});

test('downloads that wait behind a stream on their connection keep none of the slots', async () => {
  const port = await app.listen();
  const wires = Array.from({ length: 18 }, () => new Wire(port));
  for (const wire of wires) {
    wire.send(request('/events') + request('/devices/dax0.0/content').repeat(15));
  }
  while (app.http.eventStreams.size < wires.length) await sleep(5);
  // More than there are slots for.
  const own = new Wire(port);
  for (let i = 0; i < 10; i++) {
    own.send('HEAD /devices/dax0.0/content HTTP/1.1\r\nhost: localhost\r\n\r\n');
    expect((await own.answer('HEAD')).status).toBe(200);
  }
  for (const wire of [...wires, own]) wire.end();
  while (app.http.eventStreams.size > 0) await sleep(5);
});
