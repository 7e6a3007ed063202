// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestApp, type TestApp } from '../support/app.ts';
import { expectProblem } from '../support/conformance.ts';
import { bearer, writeTokens } from '../support/tokens.ts';
import { request, Wire } from '../support/wire.ts';

const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const ASYNC = { prefer: 'respond-async' };

let directory: string;
let app: TestApp;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const tokens = [
    { name: 'anna' },
    { name: 'bert' },
    { name: 'boss', scopes: ['transfers:all'] as const },
    { name: 'worker', scopes: ['transfers:write', 'transfers:all'] as const },
  ];
  app = await startTestApp({ environment: { DMAD_TOKENS_FILE: writeTokens(directory, tokens) } });
});
afterAll(async () => {
  await app.close();
  rmSync(directory, { recursive: true, force: true });
});

const make = async (client: string, headers = {}) =>
  (await app.post(COPY, { ...bearer(client), ...headers })).json();
const get = async (client: string, url: string) =>
  (await app.inject({ url, headers: bearer(client) })).json();
const cancel = (client: string, id: string) =>
  app.ask({ method: 'POST', url: `/transfers/${id}/cancel`, headers: bearer(client) });

test("transfers:all sees everybody's, by id and in lists, and whose each is", async () => {
  const [ofAnna, ofBert] = [await make('anna'), await make('bert')];
  expect(ofAnna).not.toHaveProperty('client');
  expect(await get('boss', `/transfers/${ofAnna.id}`)).toEqual({ ...ofAnna, client: 'anna' });
  const { transfers } = await get('boss', '/transfers');
  expect(transfers.slice(0, 2)).toEqual([
    { ...ofBert, client: 'bert' },
    { ...ofAnna, client: 'anna' },
  ]);
  const basic = await get('boss', '/transfers?view=basic&page_size=1&status=succeeded');
  expect(basic.transfers[0]).toMatchObject({ id: ofBert.id, client: 'bert' });
  expect(basic.next_page_token).not.toBe('');
  expect((await get('anna', '/transfers')).transfers).toEqual([ofAnna]);
});

test('one that makes transfers itself has its own among them', async () => {
  const own = await make('worker');
  expect(own.client).toBe('worker');
  expect((await get('worker', '/transfers')).transfers[0]).toEqual(own);
  expectProblem(
    await app.ask({ url: `/transfers/${own.id}`, headers: bearer('anna') }),
    404,
    'not_found',
  );
});

test("transfers:all cancels everybody's, and makes none", async () => {
  const blocker = await app.block('dax0.0', 0, bearer('anna'));
  const { id } = await make('anna', ASYNC);
  expectProblem(await cancel('bert', id), 404, 'not_found');
  const cancelled = await cancel('boss', id);
  expect(cancelled.status).toBe(200);
  expect(JSON.parse(cancelled.body.toString())).toMatchObject({
    ...{ status: 'cancelled', client: 'anna' },
  });
  await blocker.release();
  const { id: finished } = await make('bert');
  const refused = expectProblem(await cancel('boss', finished), 409, 'not_cancellable');
  expect(refused.transfer).toMatchObject({ id: finished, client: 'bert' });
  const forbidden = await app.ask({
    ...{ method: 'POST', url: '/transfers', payload: COPY, headers: bearer('boss') },
  });
  expectProblem(forbidden, 403, 'forbidden');
});

test("transfers:all watches everybody's, in snapshot and events, and what it missed of them", async () => {
  const port = await app.listen();
  const open = (fields = {}) =>
    new Wire(port).send(request('GET /events', { ...bearer('boss'), ...fields }));
  const blocker = await app.block('dax0.0', 0, bearer('anna'));
  const { id } = await make('anna', ASYNC);
  const wire = open();
  await wire.sees(id);
  expect(wire.pending.toString()).toMatch(/"status":"queued".*"client":"anna"/);
  const [, last] = /\nid: ([^\n]+)\n/.exec(wire.pending.toString()) ?? [];
  const one = new Wire(port).send(request(`GET /transfers/${id}/events`, bearer('boss')));
  await one.sees('"client":"anna"');
  await blocker.release();
  await wire.sees('"status":"succeeded"');
  wire.end();
  const again = open({ 'last-event-id': last as string });
  await again.sees('"status":"succeeded"');
  expect(again.pending.toString()).toMatch(/"status":"running".*"client":"anna"/);
  expect(again.pending.toString()).not.toContain('"status":"queued"');
  again.end();
  // What another audience had is not what this one has missed.
  const ofAnna = new Wire(port).send(
    request('GET /events', { ...bearer('anna'), 'last-event-id': last as string }),
  );
  await ofAnna.sees('event: snapshot');
  ofAnna.end();
});
