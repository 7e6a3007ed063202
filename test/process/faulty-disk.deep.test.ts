// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { cases, EXHAUSTIVE } from '../support/depth.ts';
import { EDQUOT, EIO, type Faults, FaultyDisk } from '../support/faulty-disk.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { Wire } from '../support/wire.ts';

const SIZE = 64 * 1024;
const COPY = {
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: SIZE },
};

const MINIMAL = { prefer: 'return=minimal' };

let disk: FaultyDisk;
let stateDir: string;
let daemon: Daemon;
let url: string;
beforeAll(async () => {
  disk = new FaultyDisk();
  stateDir = mkdtempSync(join(tmpdir(), 'dmad-faulty-'));
  await start();
});
afterAll(async () => {
  await daemon.stop('SIGKILL');
  rmSync(stateDir, { recursive: true, force: true });
  disk.close();
});

async function start(): Promise<void> {
  disk.work();
  daemon = new Daemon({
    DMAD_STATE_DIR: stateDir,
    DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}`,
    ...disk.environment,
  });
  url = await daemon.ready();
}

const upload = (device: string, byte: number) =>
  fetchAnswer(`${url}/devices/${device}/content`, {
    method: 'PUT',
    body: Buffer.alloc(SIZE, byte),
    signal: AbortSignal.timeout(2000),
  });
const firstByte = async (device: string) =>
  (await fetchAnswer(`${url}/devices/${device}/content`)).body.readUInt8(0);

async function waitForIdle(): Promise<void> {
  for (const status of ['queued', 'running']) {
    const { transfers } = await fetchJson(`${url}/transfers?status=${status}`);
    for (const { id } of transfers) {
      await fetchJson(`${url}/transfers/${id}`, { headers: { prefer: 'wait=30' } });
    }
  }
}

const kinds: [string, Omit<Faults, 'first'>][] = [
  ['once, before it is done', { times: 1, error: EIO }],
  ['once, after it is done', { times: 1, error: EIO, moment: 'after' }],
  ['once, half done', { times: 1, error: EIO, moment: 'during' }],
  ['from then on, after it is done', { error: EDQUOT, moment: 'after' }],
  ['from then on, before it is done', { error: EIO }],
  ['from then on, half done', { error: EDQUOT, moment: 'during' }],
  ['and the disk becomes read-only', { error: EIO, moment: 'after', readOnly: true }],
];
/** An acceptance takes no more writes and syncs than these. */
const OPERATIONS = 10;
let round = 0;

const points = cases(
  kinds.flatMap(([what, faults]) =>
    Array.from({ length: OPERATIONS }, (_, i) => ({ first: i + 1, what, faults })),
  ),
);
/** Those that one of three tests takes: all in deep tests, in quick ones they share them. */
const share = (test: number) => points.filter((_, index) => EXHAUSTIVE || index % 3 === test);

/** What is killed by turns as a power failure would, and in order. */
async function restart(): Promise<void> {
  await daemon.stop(round % 2 === 0 ? 'SIGKILL' : 'SIGTERM');
  await start();
  await waitForIdle();
}

test.each(share(0))(
  'the journal fails at operation $first, $what: what was refused never runs',
  async ({ first, faults }) => {
    round++;
    const key = `key ${round}`;
    const [old, newer] = [(2 * round) % 251, (2 * round + 1) % 251];
    expect((await upload('dax0.0', old)).status).toBe(200);
    disk.fail({ first, ...faults });
    const post = () =>
      fetchAnswer(
        `${url}/transfers`,
        jsonBody(COPY, { prefer: 'respond-async', 'idempotency-key': key }),
      );
    const answer = await post().catch(() => undefined);
    const id = answer && JSON.parse(answer.body.toString()).id;
    if (answer?.status === 202) {
      await fetchJson(`${url}/transfers/${id}`, { headers: { prefer: 'wait=1' } });
    } else if (answer !== undefined) {
      expect([503, 507]).toContain(answer.status);
    }
    // Behind what is undecided, it waits; that is cut off.
    const uploaded = await upload('dax1.0', newer).catch(() => undefined);
    if (answer !== undefined && answer.status !== 202) expect(uploaded?.status).toBe(200);
    await restart();
    const found = await firstByte('dax1.0');
    if (uploaded?.status === 200) expect(found).toBe(newer);
    if (answer === undefined) return;
    const again = await post();
    const document = JSON.parse(again.body.toString());
    // A problem if it was interrupted.
    const { id: idAgain } = document.transfer ?? document;
    if (answer.status === 202) {
      expect(idAgain).toBe(id);
      const { status } = await fetchJson(`${url}/transfers/${id}`);
      expect(['succeeded', 'interrupted']).toContain(status);
    } else {
      // Its key was not spent.
      expect(again.status).toBe(202);
      await fetchJson(`${url}/transfers/${idAgain}`, { headers: { prefer: 'wait=30' } });
      expect(await firstByte('dax1.0')).toBe(old);
    }
  },
  60_000,
);

test.each(share(1))(
  'the journal fails at operation $first of a batch, $what: all of it is accepted, or none',
  async ({ first, faults }) => {
    round++;
    const batch = `batch ${round}`;
    const [filled, old, newer] = [0, 1, 2].map((n) => (3 * round + n) % 251) as [
      number,
      ...number[],
    ];
    const transfers = [
      {
        ...{ operation: 'fill', device_name: 'dax0.0', dst_offset: 0, size: SIZE },
        pattern: Buffer.of(filled).toString('hex'),
      },
      { ...COPY, depends_on: ['#0'] },
      { ...COPY, operation: 'compare', depends_on: ['#0', '#1'] },
    ].map((one, n) => ({ ...one, labels: { batch }, idempotency_key: `${batch} ${n}` }));
    const post = () => fetchAnswer(`${url}/transfers/batch`, jsonBody({ transfers }, MINIMAL));
    const list = async (): Promise<{ id: string; status: string }[]> =>
      (await fetchJson(`${url}/transfers?label=batch:${encodeURIComponent(batch)}`)).transfers;
    for (const device of ['dax0.0', 'dax1.0']) {
      expect((await upload(device, old as number)).status).toBe(200);
    }
    disk.fail({ first, ...faults });
    const answer = await post().catch(() => undefined);
    const refused = answer !== undefined && answer.status !== 202;
    if (refused) {
      expect([503, 507]).toContain(answer.status);
      expect(await list()).toEqual([]);
      // It has given its places up.
      expect((await upload('dax1.0', newer as number)).status).toBe(200);
    }
    await restart();

    const found = await list();
    expect([0, transfers.length]).toContain(found.length);
    if (refused) {
      expect(found).toEqual([]);
      expect(await firstByte('dax0.0')).toBe(old);
      expect(await firstByte('dax1.0')).toBe(newer);
    }
    const ids = found.map(({ id }) => id).sort();
    if (answer?.status === 202) expect(ids).toEqual(JSON.parse(answer.body.toString()).transfers);
    const stopped = found.some(({ status }) => status === 'interrupted');
    for (const { status } of found) {
      expect(stopped ? ['succeeded', 'interrupted', 'failed'] : ['succeeded']).toContain(status);
    }
    // Its keys were spent if it is there, and not otherwise.
    const again = await post();
    expect(again.status).toBe(202);
    expect(again.headers['idempotency-replayed']).toBe(found.length > 0 ? 'true' : undefined);
    const idsAgain: string[] = JSON.parse(again.body.toString()).transfers;
    if (found.length > 0) expect(idsAgain).toEqual(ids);
    await waitForIdle();
    if (!stopped) expect(await firstByte('dax1.0')).toBe(filled);
  },
  60_000,
);

test.each(share(2))(
  'the journal fails at operation $first of a change, $what: it is made as a whole, or not',
  async ({ first, faults }) => {
    round++;
    const blocker = new Wire(Number(new URL(url).port)).send(
      `PUT /devices/dax1.0/content HTTP/1.1\r\nhost: localhost\r\ncontent-length: ${SIZE}\r\n` +
        'expect: 100-continue\r\n\r\n',
    );
    await blocker.sees('100 Continue');
    const waiting = await fetchAnswer(
      `${url}/transfers`,
      jsonBody(COPY, { prefer: 'respond-async' }),
    );
    const { id } = JSON.parse(waiting.body.toString());
    const settings = [
      { priority: 'low', timeout_ms: 80_000_000, labels: { change: 'first' } },
      { priority: 'high', timeout_ms: 70_000_000, labels: { change: 'second' } },
    ];
    const change = (index: number) =>
      fetchAnswer(`${url}/transfers/${id}`, {
        method: 'PATCH',
        headers: { 'content-type': 'application/merge-patch+json' },
        body: JSON.stringify(settings[index]),
        signal: AbortSignal.timeout(2000),
      });
    const settingsNow = async () => {
      const { priority, timeout_ms, labels } = await fetchJson(`${url}/transfers/${id}`);
      return { priority, timeout_ms, labels };
    };
    expect((await change(0)).status).toBe(200);
    disk.fail({ first, ...faults });
    const answer = await change(1).catch(() => undefined);
    if (answer !== undefined) {
      expect([200, 503, 507]).toContain(answer.status);
      expect(await settingsNow()).toEqual(settings[answer.status === 200 ? 1 : 0]);
    }
    blocker.end();
    await restart();

    const now = await settingsNow();
    if (answer === undefined) expect(settings).toContainEqual(now);
    else expect(now).toEqual(settings[answer.status === 200 ? 1 : 0]);
  },
  60_000,
);
