// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { connect } from '../../services/client/node.ts';
import { startTestApp, type TestApp } from '../support/app.ts';
import { FakePeer } from '../support/fake-peer.ts';
import { writePeers } from '../support/peers.ts';
import { bearer, secretOf, writeTokens } from '../support/tokens.ts';
import { request, Wire } from '../support/wire.ts';

const SIZE = 2 ** 20;

let directory: string;
let peer: FakePeer;
let app: TestApp;
let port: number;
/** While it holds, the peer answers nothing; then all that was asked meanwhile. */
let held: (() => void)[] | undefined;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  peer = await FakePeer.listen(randomBytes(SIZE));
  peer.lie = (incoming, response, url) => {
    if (held === undefined) return false;
    held.push(() => {
      if (url.pathname.endsWith('/digests')) peer.digests(response, url);
      else peer.content(incoming, response);
    });
    return true;
  };
  app = await startTestApp({
    environment: {
      DMAD_PEERS_FILE: writePeers(directory, [{ name: 'hostb', url: peer.url }]),
      DMAD_TOKENS_FILE: writeTokens(directory, [
        { name: 'anna' },
        { name: 'bert' },
        { name: 'boss', scopes: ['transfers:all'] },
      ]),
    },
  });
  port = await app.listen();
});
afterAll(async () => {
  await app.close();
  await peer.close();
  rmSync(directory, { recursive: true, force: true });
});

const hold = () => {
  held = [];
};
const letGo = () => {
  const answers = held ?? [];
  held = undefined;
  for (const answer of answers) answer();
};
const replicate = async (more: object = {}, wait = 'respond-async') => {
  peer.bytes.set(randomBytes(4096));
  const payload = {
    ...{ peer: 'hostb', src_device_name: 'dax9.9', src_offset: 0, dst_device_name: 'dax0.0' },
    ...{ dst_offset: 0, size: SIZE, block_size: 65_536, ...more },
  };
  const headers = { prefer: wait, ...bearer('anna') };
  const answer = await app.ask({ method: 'POST', url: '/replications', payload, headers });
  expect([201, 202]).toContain(answer.status);
  return JSON.parse(answer.body.toString()).id as string;
};

interface Event {
  id: string;
  name: string;
  data: { id: string; status: string; client?: string };
}

/** The events of a stream so far, without comments. */
function eventsOf(wire: Wire): Event[] {
  const text = wire.pending.toString().replace(/\r\n[0-9a-f]+\r\n/g, '');
  return [...text.matchAll(/^id: (.+)\nevent: (.+)\ndata: (.+)$/gm)].map(
    ([, id = '', name = '', data = '']) => ({ id, name, data: JSON.parse(data) }),
  );
}
const watch = (path: string, name = 'anna', headers: Record<string, string> = {}) =>
  new Wire(port).send(request(`GET ${path}`, { ...bearer(name), ...headers }));

test('a stream of all has each status of a replication, under its own event names', async () => {
  hold();
  const all = watch('/events');
  const others = watch('/events', 'bert');
  const boss = watch('/events', 'boss');
  for (const wire of [all, others, boss]) await wire.sees(': nothing more');
  const id = await replicate();
  const late = watch('/events');
  await late.sees('"status":"running"');
  letGo();
  for (const wire of [all, late, boss]) await wire.sees('"status":"succeeded"');
  const told = (wire: Wire) =>
    eventsOf(wire)
      .filter(({ name }) => name === 'replication_status')
      .map(({ data }) => [data.id, data.status]);
  expect(told(all)).toEqual([
    [id, 'queued'],
    [id, 'running'],
    [id, 'succeeded'],
  ]);
  expect(told(late)).toEqual(told(all).slice(1));
  expect(told(boss)).toEqual(told(all));
  expect(eventsOf(others)).toEqual([]);
  expect(eventsOf(all).map(({ data }) => data.client)).toEqual([undefined, undefined, undefined]);
  expect(eventsOf(boss)[0]?.data.client).toBe('anna');
  expect(new Set(eventsOf(all).map(({ id: number }) => number)).size).toBe(eventsOf(all).length);
  for (const wire of [all, others, boss, late]) wire.end();
});

test.each([
  ['device_name=dax9.9', true],
  ['device_name=dax0.0', true],
  ['device_name=dax1.0', false],
  ['label=run:1', true],
  ['label=run:2', false],
  ['status=failed', false],
  ['created_after=2000-01-01T00:00:00Z', true],
  ['created_before=2000-01-01T00:00:00Z', false],
  ['operation=copy', false],
  ['engine=cpu', false],
  ['view=basic&interval_ms=10', true],
])('filters count for replications, too: %s', async (query, found) => {
  const wire = watch(`/events?${query}`);
  const end = watch('/events');
  for (const each of [wire, end]) await each.sees(': nothing more');
  await replicate({ labels: { run: '1' } }, 'wait=60');
  await end.sees('"status":"succeeded"');
  if (found) await wire.sees('"status":"succeeded"');
  else expect(eventsOf(wire)).toEqual([]);
  for (const each of [wire, end]) each.end();
});

test('a client that comes back has what it missed', async () => {
  const first = watch('/events');
  await first.sees(': nothing more');
  const before = await replicate({}, 'wait=60');
  await first.sees('"status":"succeeded"');
  const received = eventsOf(first).at(-1)?.id as string;
  first.end();
  const id = await replicate({}, 'wait=60');
  const again = watch('/events', 'anna', { 'last-event-id': received });
  await again.sees('"status":"succeeded"');
  const events = eventsOf(again).filter(({ name }) => name === 'replication_status');
  expect(events.map(({ data }) => data.status)).toEqual(['queued', 'running', 'succeeded']);
  expect(new Set(events.map(({ data }) => data.id))).toEqual(new Set([id]));
  expect(id).not.toBe(before);
  again.end();
});

test('a stream of one goes on behind the last event, and ends with its end', async () => {
  hold();
  const id = await replicate();
  const first = watch(`/replications/${id}/events`);
  await first.sees('"status":"running"');
  const running = eventsOf(first).at(-1)?.id as string;
  expect(eventsOf(first).at(-1)?.name).toBe('status');
  first.end();
  const again = watch(`/replications/${id}/events`, 'anna', { 'last-event-id': running });
  await again.sees(': events follow');
  letGo();
  await again.closed;
  const events = eventsOf(again);
  expect(events.filter(({ name }) => name === 'status').map(({ data }) => data.status)).toEqual([
    'succeeded',
  ]);
  const last = events.at(-1)?.id as string;
  const headers = { ...bearer('anna'), 'last-event-id': last };
  const over = await app.ask({ url: `/replications/${id}/events`, headers });
  expect(over.status).toBe(204);
  // What another daemon gave says nothing here.
  const lost = watch(`/replications/${id}/events`, 'anna', { 'last-event-id': '0123456789ab-1' });
  await lost.closed;
  expect(lost.pending.toString()).toContain('event: snapshot');
  expect(eventsOf(lost).at(-1)?.data.status).toBe('succeeded');
});

test('the client tells transfers and replications apart', async () => {
  const client = connect({ url: `http://127.0.0.1:${port}`, token: secretOf('anna') });
  const stop = new AbortController();
  const seen: string[] = [];
  const { signal } = stop;
  const work = client.watchWork({}, { signal });
  const transfers = client.watchAll({}, { signal });
  const firstTransfer = transfers.next();
  const reading = (async () => {
    for await (const event of work) {
      if ('replication' in event) seen.push(`${event.event} ${event.replication.status}`);
      else seen.push(`transfer ${event.transfer.status}`);
      if (seen.at(-1) === 'transfer succeeded') return;
    }
  })();
  while (app.http.eventStreams.size < 2) await sleep(10);
  await replicate({}, 'wait=60');
  const copy = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
  expect((await app.post(copy, bearer('anna'))).statusCode).toBe(201);
  await reading;
  expect(seen).toContain('status succeeded');
  expect((await firstTransfer).value).toHaveProperty('transfer');
  stop.abort();
  await transfers.return(undefined);
  await client.close();
});
