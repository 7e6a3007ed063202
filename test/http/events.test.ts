// SPDX-License-Identifier: Apache-2.0
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { longTransfer, MEMORY_DIR, startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { exchange, request, Wire } from '../support/wire.ts';

const SIZE = 16 * 2 ** 20;
const ASYNC = { prefer: 'respond-async' };
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };

interface Event {
  id: string;
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

const ID = /^id: [0-9a-f]{12}-[0-9]+(-incomplete)?$/;

/** Every whole event of a stream, each of which must be well-formed. */
function readEvents(text: string): Event[] {
  return text
    .split('\n\n')
    .slice(0, -1)
    .filter((block) => !block.startsWith(':'))
    .map((block) => {
      const [id, event, data, ...more] = block.split('\n');
      expect(more).toEqual([]);
      expect(id).toMatch(ID);
      expect(event).toMatch(/^event: (status|progress)$/);
      expect(data).toMatch(/^data: \{/);
      return {
        id: (id as string).slice('id: '.length),
        event: (event as string).slice('event: '.length),
        transfer: JSON.parse((data as string).slice('data: '.length)),
      };
    });
}

/** The stream that a connection has brought so far. */
const textOf = (wire: Wire) => {
  const text = wire.pending.toString();
  // The body is chunked; each event goes out as a chunk or in whole ones.
  return text.slice(text.indexOf('\r\n\r\n') + 4).replace(/(^|\r\n)[0-9a-f]+\r\n/g, '');
};
const summaryOf = (events: Event[]) =>
  events.map(({ transfer }) => `${transfer.id} ${transfer.status}`);

const watch = (id: string) => exchange(port, request(`GET /transfers/${id}/events`));
const cancel = (id: string) => app.inject({ method: 'POST', url: `/transfers/${id}/cancel` });

test('of one that has finished: its status, then the end', async () => {
  const transfer = (await app.post(COPY)).json();
  const answer = await watch(transfer.id);
  expect(answer.status).toBe(200);
  expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
  expect(answer.headers['cache-control']).toBe('no-store');
  expect(answer.headers['x-request-id']).toBeDefined();
  expect(readEvents(answer.body.toString())).toMatchObject([{ event: 'status', transfer }]);
});

test('the header and the first bytes come at once, and no proxy is to hold them back', async () => {
  const blocker = await app.block('dax0.0');
  const { id } = (await app.post(COPY, ASYNC)).json();
  for (const path of ['/events', `/transfers/${id}/events`]) {
    const wire = new Wire(port).send(request(`GET ${path}`));
    await wire.sees('\r\n\r\n');
    // A comment, which clients leave out.
    await wire.sees(': events follow\nretry: 3000\n\n');
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
  await early.sees(': nothing more');
  const { id } = (await app.post({ device_name: 'dax0.0', segments }, ASYNC)).json();
  const late = new Wire(port).send(request('GET /events'));
  await late.sees(id);
  const ofOne = watch(id);
  await blocker.release();
  await early.sees('"status":"succeeded"');
  await late.sees('"status":"succeeded"');
  const parts = (text: string) =>
    text.split('\n\n').filter((part) => part.includes(`"id":"${id}"`));
  for (const text of [textOf(early), textOf(late), (await ofOne).body.toString()]) {
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
  const events = readEvents(textOf(wire));
  expect(new Set(events.map((event) => event.id)).size).toBe(events.length);
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

describe('a client that comes back', () => {
  const get = (path: string, lastEventId?: string) =>
    request(`GET ${path}`, lastEventId === undefined ? {} : { 'last-event-id': lastEventId });
  const open = (path: string, lastEventId?: string) => new Wire(port).send(get(path, lastEventId));

  test('to one that has finished sends its end if the client has not had it, then 204', async () => {
    const blocker = await app.block('dax0.0');
    const { id } = (await app.post(COPY, ASYNC)).json();
    const path = `/transfers/${id}/events`;
    const wire = open(path);
    await wire.sees('"status":"queued"');
    const [queued] = readEvents(textOf(wire)) as [Event];
    wire.end();
    // It has had all that there is.
    const waiting = open(path, queued.id);
    await waiting.sees('events follow');
    await blocker.release();
    const rest = readEvents((await waiting.answer()).body.toString());
    expect(summaryOf(rest.filter(({ event }) => event === 'status'))).toEqual([
      `${id} running`,
      `${id} succeeded`,
    ]);
    const missed = (await exchange(port, get(path, queued.id))).body.toString();
    expect(missed).toContain('event: snapshot\ndata: {"reason":');
    expect(missed).toContain('"status":"succeeded"');
    const last = rest.at(-1) as Event;
    for (const had of [last.id, 'no id of ours']) {
      const answer = await exchange(port, get(path, had));
      expect([answer.status, answer.body.length]).toEqual([204, 0]);
    }
    // A daemon before this one gave the id: whether the client has the end is not known.
    const lost = await exchange(port, get(path, `0123456789ab-${last.id.split('-')[1]}`));
    expect(lost.status).toBe(200);
    expect(lost.body.toString()).toContain('"status":"succeeded"');
  });

  test('to all of them has what it missed, in order, once, and goes on', async () => {
    const wire = open('/events');
    await wire.sees('nothing more');
    const first = (await app.post(COPY)).json().id;
    await wire.sees(`"id":"${first}","status":"succeeded"`);
    const had = readEvents(textOf(wire)).at(-1) as Event;
    wire.end();
    await wire.closed;
    const missed = [(await app.post(COPY)).json().id, (await app.post(COPY)).json().id];
    const again = open('/events', had.id);
    await again.sees(`"id":"${missed[1]}","status":"succeeded"`);
    const later = (await app.post(COPY)).json().id;
    await again.sees(`"id":"${later}","status":"succeeded"`);
    expect(textOf(again)).not.toContain('snapshot');
    expect(summaryOf(readEvents(textOf(again)))).toEqual(
      [...missed, later].flatMap((id) =>
        ['queued', 'running', 'succeeded'].map((status) => `${id} ${status}`),
      ),
    );
    again.end();
    // With a filter: what matched then.
    const running = open('/events?status=running', had.id);
    await running.sees(later);
    expect(summaryOf(readEvents(textOf(running)))).toEqual(
      [...missed, later].map((id) => `${id} running`),
    );
    running.end();
  });

  test('with an unknown id begins anew, and says so', async () => {
    const blocker = await app.block('dax0.0');
    const { id } = (await app.post(COPY, ASYNC)).json();
    for (const last of ['nonsense', '0123456789ab-17', '0', '999999999999-999999999']) {
      const wire = open('/events', last);
      await wire.sees(id);
      const [snapshot] = textOf(wire).split('\n\n').slice(1);
      expect(snapshot).toMatch(/^event: snapshot\ndata: \{"reason":"[^"]+"\}$/);
      wire.end();
    }
    const none = open('/events', '');
    await none.sees(id);
    expect(textOf(none)).not.toContain('snapshot');
    none.end();
    await cancel(id);
    await blocker.release();
  });
});

describe('the events of all', () => {
  test('begin with what is not over, oldest first, and go on from there', async () => {
    const blocker = await app.block('dax0.0');
    const ids: string[] = [];
    // More than are sent at a time.
    for (let i = 0; i < 250; i++) ids.push((await app.post(COPY, ASYNC)).json().id);
    const wire = new Wire(port).send(request('GET /events'));
    await wire.sees(ids.at(-1) as string);
    const events = readEvents(textOf(wire));
    expect(summaryOf(events)).toEqual(ids.map((id) => `${id} queued`));
    const incomplete = events.filter((event) => event.id.endsWith('-incomplete'));
    expect(incomplete).toHaveLength(249);
    const again = new Wire(port).send(
      request('GET /events', { 'last-event-id': incomplete[100]?.id as string }),
    );
    await again.sees(ids.at(-1) as string);
    expect(textOf(again)).toContain('event: snapshot\n');
    await Promise.all(ids.map(cancel));
    while (readEvents(textOf(wire)).length < 2 * ids.length) await sleep(10);
    const rest = readEvents(textOf(wire)).slice(250);
    expect(summaryOf(rest).sort()).toEqual(ids.map((id) => `${id} cancelled`).sort());
    wire.end();
    again.end();
    await blocker.release();
  });

  test('can be filtered as the list can; view=basic has no segments and no timings', async () => {
    const labelled = { ...COPY, labels: { job: 'nightly' } };
    const fill = { ...{ operation: 'fill', device_name: 'dax1.0' }, dst_offset: 0, size: 4096 };
    const wires = new Map<string, Wire>();
    for (const query of [
      ...['label=job:nightly', 'operation=fill', 'device_name=dax1.0', 'status=succeeded,failed'],
      ...['engine=dma', 'created_before=2026-01-01T00:00:00Z', 'view=basic'],
    ]) {
      const wire = new Wire(port).send(request(`GET /events?${query}`));
      await wire.sees('nothing more');
      wires.set(query, wire);
    }
    const ids: string[] = [];
    for (const body of [labelled, fill, COPY]) ids.push((await app.post(body)).json().id);
    for (const query of ['view=basic', 'status=succeeded,failed']) {
      await wires.get(query)?.sees(`"id":"${ids[2]}","status":"succeeded"`);
    }
    const eventsOf = (query: string) => readEvents(textOf(wires.get(query) as Wire));
    const idsOf = (query: string) => [
      ...new Set(eventsOf(query).map(({ transfer }) => ids.indexOf(transfer.id))),
    ];
    expect(idsOf('label=job:nightly')).toEqual([0]);
    expect(idsOf('operation=fill')).toEqual([1]);
    expect(idsOf('device_name=dax1.0')).toEqual([1]);
    expect(summaryOf(eventsOf('status=succeeded,failed'))).toEqual(
      ids.map((id) => `${id} succeeded`),
    );
    expect(idsOf('engine=dma')).toEqual([]);
    expect(idsOf('created_before=2026-01-01T00:00:00Z')).toEqual([]);
    for (const { transfer } of eventsOf('view=basic')) {
      expect(transfer).not.toHaveProperty('segments');
      expect(transfer).not.toHaveProperty('timings');
    }
    for (const wire of wires.values()) wire.end();
    for (const query of ['page_size=1', 'status=done', 'nonsense=1']) {
      const refused = await app.ask({ url: `/events?${query}` });
      expectProblem(refused, 400, 'invalid_request');
    }
  });

  test('bring segments once, whatever statuses are asked for', async () => {
    const segments = [{ src_offset: 0, dst_offset: 4096, size: 4096 }];
    const blocker = await app.block('dax0.0');
    const before = (await app.post({ device_name: 'dax0.0', segments }, ASYNC)).json().id;
    const QUERIES = ['queued,succeeded', 'running,succeeded', 'running', 'succeeded'];
    const wires = QUERIES.map((status) => {
      return new Wire(port).send(request(`GET /events?status=${status}`));
    });
    for (const wire of wires) await wire.sees('id: ');
    const after = (await app.post({ device_name: 'dax0.0', segments }, ASYNC)).json().id;
    await blocker.release();
    await app.inject({ url: `/transfers/${after}`, headers: { prefer: 'wait=10' } });
    for (const [index, wire] of wires.entries()) {
      await wire.sees(`"id":"${after}","status":"${QUERIES[index]?.split(',').at(-1)}"`);
      for (const id of [before, after]) {
        const own = readEvents(textOf(wire)).filter(({ transfer }) => transfer.id === id);
        const having = own.map(({ transfer }) => 'segments' in transfer);
        expect(having).toEqual(own.map((_, position) => position === 0));
      }
      wire.end();
    }
  });
});

test('a snapshot with many segments comes as fast as it is read, however large it is', async () => {
  const blocker = await app.block('dax0.0');
  const segments = Array.from({ length: 4096 }, (_, index) => ({
    ...{ src_offset: 4096 * index, dst_offset: 4096 * index, size: 4096 },
  }));
  const body = { device_name: 'dax0.0', dst_device_name: 'dax1.0', segments };
  const ids: string[] = [];
  for (let count = 0; count < 30; count++) {
    const answer = await app.post(body, ASYNC);
    expect(answer.statusCode).toBe(202);
    ids.push(answer.json().id);
  }
  const wire = new Wire(port).send(request('GET /events'));
  await wire.sees(`"id":"${ids.at(-1)}"`);
  const text = textOf(wire);
  expect(ids.filter((id) => !text.includes(`"id":"${id}"`))).toEqual([]);
  wire.end();
  await Promise.all(ids.map(cancel));
  await blocker.release();
});
