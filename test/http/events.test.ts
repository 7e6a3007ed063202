// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { longTransfer, MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const SIZE = 16 * 2 ** 20;
const ASYNC = { prefer: 'respond-async' };
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };

interface Event {
  event: string;
  transfer: { id: string; status: string; bytes_completed: number; size: number };
}

let app: TestApp;
let port: number;
beforeAll(async () => {
  app = await startTestApp({
    environment: { DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}` },
    parentDir: MEMORY_DIR,
  });
  port = await app.listen();
});
afterAll(() => app.close());

/** Every whole event of a stream, each of which must be well-formed. */
function readEvents(text: string): Event[] {
  return text
    .split('\n\n')
    .slice(0, -1)
    .filter((block) => !block.startsWith(':'))
    .map((block) => {
      const [event, data, ...more] = block.split('\n');
      expect(more).toEqual([]);
      expect(event).toMatch(/^event: (status|progress)$/);
      expect(data).toMatch(/^data: \{/);
      return {
        event: (event as string).slice('event: '.length),
        transfer: JSON.parse((data as string).slice('data: '.length)),
      };
    });
}

const watch = (id: string) => exchange(port, request(`GET /transfers/${id}/events`));
const cancel = (id: string) => app.inject({ method: 'POST', url: `/transfers/${id}/cancel` });

test('of one that is over: its status, then the end', async () => {
  const transfer = (await app.post(COPY)).json();
  const answer = await watch(transfer.id);
  expect(answer.status).toBe(200);
  expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
  expect(answer.headers['cache-control']).toBe('no-store');
  expect(answer.headers['x-request-id']).toBeDefined();
  expect(readEvents(answer.body.toString())).toEqual([{ event: 'status', transfer }]);
});

test('the header and the first bytes come at once, and no proxy is to hold them back', async () => {
  const blocker = await app.block('dax0.0');
  const { id } = (await app.post(COPY, ASYNC)).json();
  for (const path of ['/events', `/transfers/${id}/events`]) {
    const wire = new Wire(port).send(request(`GET ${path}`));
    await wire.sees('\r\n\r\n');
    // A comment, which clients leave out.
    await wire.sees(': events follow\n\n');
    expect(wire.pending.toString().toLowerCase()).toContain('x-accel-buffering: no\r\n');
    wire.end();
  }
  await cancel(id);
  await blocker.release();
});

test('segments come once in a stream, with the first event of their transfer', async () => {
  const segments = Array.from({ length: 4096 }, (_, i) => ({
    ...{ src_offset: i, dst_offset: 2 ** 20 + i, size: 1 },
  }));
  const blocker = await app.block('dax0.0');
  const early = new Wire(port).send(request('GET /events'));
  await early.sees(': events follow');
  const { id } = (await app.post({ device_name: 'dax0.0', segments }, ASYNC)).json();
  const late = new Wire(port).send(request('GET /events'));
  await late.sees(': events follow');
  const ofOne = watch(id);
  await blocker.release();
  await early.sees('"status":"succeeded"');
  await late.sees('"status":"succeeded"');
  const parts = (text: string) =>
    text
      .replace(/(^|\r\n)[0-9a-f]+\r\n/g, '')
      .split('\n\n')
      .filter((part) => part.includes(`"id":"${id}"`));
  for (const text of [
    early.pending.toString(),
    late.pending.toString(),
    (await ofOne).body.toString(),
  ]) {
    const events = parts(text);
    expect(events.length).toBeGreaterThan(1);
    expect(events[0]).toContain('"segments":[{"src_offset":0,');
    for (const event of events.slice(1)) {
      expect(event).not.toContain('"segments"');
      expect(event).toContain('"labels":{}');
      expect(event.length).toBeLessThan(2000);
    }
  }
  early.end();
  late.end();
});

test('of one that waits, runs and is cancelled: every status, progress that grows', async () => {
  const blocker = await app.block('dax0.0');
  const { id } = (await app.post(longTransfer(SIZE), ASYNC)).json();
  const wire = new Wire(port).send(request(`GET /transfers/${id}/events`));
  await wire.sees('event: status');
  await blocker.release();
  await wire.sees('event: progress');
  await cancel(id);
  const events = readEvents((await wire.answer()).body.toString());
  const statuses = events.filter(({ event }) => event === 'status');
  expect(statuses.map(({ transfer }) => transfer.status)).toEqual([
    'queued',
    'running',
    'cancelled',
  ]);
  expect(events.at(-1)?.event).toBe('status');
  let completed = 0;
  for (const { transfer } of events) {
    expect(transfer.id).toBe(id);
    expect(transfer.bytes_completed).toBeGreaterThanOrEqual(completed);
    completed = transfer.bytes_completed;
  }
  expect(completed).toBeGreaterThan(0);
});

test('of all: each status of each transfer, in the order of each', async () => {
  const wire = new Wire(port).send(request('GET /events'));
  await wire.sees('\r\n\r\n');
  const ids: string[] = [];
  for (let i = 0; i < 20; i++) ids.push((await app.post(COPY)).json().id);
  const last = ids.at(-1) as string;
  await wire.sees(`"id":"${last}","status":"succeeded"`);
  const text = wire.pending.toString();
  // The body is chunked; each event goes out as a chunk or in whole ones.
  const body = text.slice(text.indexOf('\r\n\r\n') + 4).replace(/(^|\r\n)[0-9a-f]+\r\n/g, '');
  const events = readEvents(body);
  for (const id of ids) {
    const own = events.filter(({ event, transfer }) => event === 'status' && transfer.id === id);
    expect(own.map(({ transfer }) => transfer.status)).toEqual(['queued', 'running', 'succeeded']);
  }
  wire.end();
});

test('HEAD gives the header and ends', async () => {
  const { id } = (await app.post(longTransfer(SIZE), ASYNC)).json();
  for (const path of ['/events', `/transfers/${id}/events`]) {
    const wire = new Wire(port).send(request(`HEAD ${path}`));
    const answer = await wire.answer('HEAD');
    expect(answer.status).toBe(200);
    expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
    await wire.closed;
    expect(wire.pending).toHaveLength(0);
  }
  await cancel(id);
});

test('clients that go away leave nothing behind', async () => {
  const before = app.http.eventStreams.size;
  const blocker = await app.block('dax0.0');
  const { id } = (await app.post(COPY, ASYNC)).json();
  const wires = Array.from({ length: 100 }, (_, index) =>
    new Wire(port).send(request(`GET ${index % 2 ? '/events' : `/transfers/${id}/events`}`)),
  );
  for (const wire of wires) await wire.sees('200 OK');
  expect(app.http.eventStreams.size).toBe(before + 100);
  for (const wire of wires) wire.end();
  while (app.http.eventStreams.size > before) await sleep(10);
  await blocker.release();
});

test('a client that does not read is cut off, and holds up nobody', async () => {
  const slow = new Wire(port);
  slow.send(request('GET /events'));
  await slow.sees('200 OK');
  slow.socket.pause();
  const segments = Array(4096).fill({ src_offset: 1_000_000, dst_offset: 2_000_000, size: 1 });
  const body = { device_name: 'dax0.0', segments, durability: 'none' };
  // Each brings an event of 300 KB: the kernel takes some MB, the daemon 1 MiB, then it is over.
  const before = app.http.eventStreams.size;
  let sent = 0;
  while (app.http.eventStreams.size >= before && sent < 200) {
    const response = await app.http.inject({ method: 'POST', url: '/transfers', payload: body });
    expect(response.statusCode).toBe(201);
    sent++;
  }
  expect(app.http.eventStreams.size).toBe(before - 1);
  slow.end();
});
