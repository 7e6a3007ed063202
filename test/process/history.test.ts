// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { ClassicLevel } from 'classic-level';
import { seal } from '../../services/daemon/journal/stored-rows.ts';
import { Daemon } from '../support/daemon.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';

/** Enough that reading them takes longer than some requests. */
const TRANSFERS = 20_000;
const COPY = { device_name: 'dax0.0', src_offset: 0, dst_offset: 4096, size: 4096 };
const KNOWN = /all transfers of earlier daemons are known/;

/** Has a journal say of many transfers what it says of one. */
async function multiply(path: string, id: string): Promise<void> {
  const journal = new ClassicLevel(path);
  await journal.open();
  const rows = await Promise.all(
    ['accepted', 'ended'].map(async (part) => {
      const { key: _, ...row } = JSON.parse(((await journal.get(`${id}/${part}`)) ?? '').slice(8));
      return [part, JSON.stringify(part === 'accepted' ? { ...row, key: null } : row)] as const;
    }),
  );
  for (let n = 0; n < TRANSFERS; n++) {
    // Older than the one, each with an id of its own.
    const past = `${id.slice(0, 9)}0000-7000-8000-${n.toString(16).padStart(12, '0')}`;
    const puts = rows.map(([part, row]) => {
      const key = `${past}/${part}`;
      return { type: 'put' as const, key, value: seal(key, row) };
    });
    await journal.batch(puts);
  }
  await journal.close();
}

test('what is accepted while a long history is read is told of as it is', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-history-'));
  const environment = { DMAD_STATE_DIR: directory };
  const first = new Daemon(environment);
  const keyed = jsonBody(COPY, { 'idempotency-key': 'a' });
  const made = await fetchAnswer(`${await first.ready()}/transfers`, keyed);
  const { id } = JSON.parse(made.body.toString());
  await first.stop('SIGTERM');
  await multiply(join(directory, 'journal'), id);

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
