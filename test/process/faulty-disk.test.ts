// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { cases } from '../support/depth.ts';
import { EDQUOT, EIO, type Faults, FaultyDisk } from '../support/faulty-disk.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';

const SIZE = 64 * 1024;
const COPY = {
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: SIZE },
};

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
  ['once, after it is done', { times: 1, error: EIO, after: true }],
  ['from then on, after it is done', { error: EDQUOT, after: true }],
  ['from then on, before it is done', { error: EIO }],
  ['and the disk becomes read-only', { error: EIO, after: true, readOnly: true }],
];
/** An acceptance takes no more writes and syncs than these. */
const OPERATIONS = 10;
let round = 0;

test.each(
  cases(
    kinds.flatMap(([what, faults]) =>
      Array.from({ length: OPERATIONS }, (_, i) => ({ first: i + 1, what, faults })),
    ),
  ),
)(
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
    await daemon.stop(round % 2 === 0 ? 'SIGKILL' : 'SIGTERM');

    await start();
    await waitForIdle();
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
