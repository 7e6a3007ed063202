// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { fetchJson, jsonBody } from '../support/fetch.ts';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const TRACE = { traceparent: TRACEPARENT, tracestate: 'vendor=1' };
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };

let stateDir: string;
beforeAll(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'dmad-test-'));
});
afterAll(() => rmSync(stateDir, { recursive: true, force: true }));

test('a trace is in the transfer, its log lines, its audit line, and outlives the daemon', async () => {
  const daemon = new Daemon({ DMAD_STATE_DIR: stateDir });
  const url = await daemon.ready();
  const headers = { ...TRACE, prefer: 'respond-async', 'idempotency-key': 'traced' };
  const { id, traceparent } = await fetchJson(`${url}/transfers`, jsonBody(COPY, headers));
  expect(traceparent).toBe(TRACEPARENT);
  const watched = await fetchJson(`${url}/transfers/${id}`, { headers: { prefer: 'wait=10' } });
  expect(watched).toMatchObject({ status: 'succeeded', traceparent: TRACEPARENT });
  const plain = await fetchJson(`${url}/transfers`, jsonBody(COPY, { traceparent: 'nonsense' }));
  expect(plain).toMatchObject({ status: 'succeeded', traceparent: null });
  // A replay shows the trace of the request that made the transfer.
  const other = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-00`;
  const again = jsonBody(COPY, { ...headers, traceparent: other });
  expect(await fetchJson(`${url}/transfers`, again)).toMatchObject({
    id,
    traceparent: TRACEPARENT,
  });
  await daemon.stop();
  const lines = daemon.log().filter((line) => line.traceparent !== undefined);
  expect(lines.filter(({ traceparent }) => traceparent === other).map(({ msg }) => msg)).toEqual(
    expect.arrayContaining(['request', 'audit']),
  );
  const own = lines.filter(({ tracestate }) => tracestate === 'vendor=1');
  const messages = own.filter(({ traceparent }) => traceparent === TRACEPARENT);
  expect(messages.map(({ msg }) => msg)).toEqual(
    expect.arrayContaining(['request', 'audit', 'transfer finished']),
  );

  const next = new Daemon({ DMAD_STATE_DIR: stateDir });
  const found = await fetchJson(`${await next.ready()}/transfers/${id}`);
  expect(found).toMatchObject({ id, traceparent: TRACEPARENT });
  await next.stop();
});
