// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { multiply } from '../support/past.ts';

/** Enough that reading them takes longer than some requests. */
const TRANSFERS = 20_000;
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const KNOWN = /all transfers of earlier daemons are known/;

test('what is accepted while a long history is read is shown as it is', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-history-'));
  const environment = { DMAD_STATE_DIR: directory };
  const first = new Daemon(environment);
  const keyed = jsonBody(COPY, { 'idempotency-key': 'a' });
  const made = await fetchAnswer(`${await first.ready()}/transfers`, keyed);
  const { id } = JSON.parse(made.body.toString());
  await first.stop('SIGTERM');
  await multiply(join(directory, 'journal'), id, TRANSFERS);

  const daemon = new Daemon(environment);
  const url = await daemon.ready();
  const accepted: string[] = [];
  do {
    const later = jsonBody({ ...COPY, dst_offset: 8192 }, { prefer: 'respond-async' });
    const answer = await fetchAnswer(`${url}/transfers`, later);
    expect(answer.status).toBe(202);
    accepted.push(JSON.parse(answer.body.toString()).id);
  } while (!daemon.log().some(({ msg }) => KNOWN.test(String(msg))));
  await sleep(300);
  for (const each of accepted) {
    const headers = { prefer: 'wait=30' };
    const { status } = await fetchJson(`${url}/transfers/${each}`, { headers });
    expect({ each, status }).toEqual({ each, status: 'succeeded' });
  }
  expect((await fetchAnswer(`${url}/transfers`, keyed)).status).toBe(200);
  expect(daemon.log().filter(({ status }) => status === 'interrupted')).toEqual([]);
  await daemon.stop('SIGTERM');
  rmSync(directory, { recursive: true });
}, 120_000);
