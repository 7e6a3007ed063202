// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { Daemon } from '../support/daemon.ts';
import { fetchAnswer, fetchJson, jsonBody } from '../support/fetch.ts';
import { noise } from '../support/random.ts';
import { request, Wire } from '../support/wire.ts';

const SIZE = 65_536;
const COPY = {
  ...{ device_name: 'dax0.0', dst_device_name: 'dax1.0' },
  ...{ src_offset: 0, dst_offset: 0, size: SIZE },
};

let stateDir: string;
let daemon: Daemon;
let url: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'dmad-reboot-'));
});
afterEach(async () => {
  await daemon.stop('SIGKILL');
  rmSync(stateDir, { recursive: true, force: true });
});

/** Starts a daemon that takes this for the boot of the host. */
async function start(bootId: string): Promise<void> {
  const script = `
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    const { readFileSync } = fs;
    fs.readFileSync = (path, ...rest) =>
      path === '/proc/sys/kernel/random/boot_id' ? '${bootId}' : readFileSync(path, ...rest);
    syncBuiltinESMExports();`;
  daemon = new Daemon({
    DMAD_STATE_DIR: stateDir,
    DMAD_DEVICES: `emulated:dax0.0=${SIZE},emulated:dax1.0=${SIZE}`,
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}`,
  });
  url = await daemon.ready();
}

/** Has a copy accepted that waits, and kills the daemon. @returns its id */
async function leaveUnfinished(): Promise<string> {
  const wire = new Wire(Number(new URL(url).port));
  wire.send(
    request('PUT /devices/dax1.0/content', { 'content-length': '1', expect: '100-continue' }),
  );
  await wire.sees('100 Continue');
  const { id } = await fetchJson(`${url}/transfers`, jsonBody(COPY, { prefer: 'respond-async' }));
  await daemon.stop('SIGKILL');
  return id;
}

const ended = (id: string) =>
  fetchJson(`${url}/transfers/${id}`, { headers: { prefer: 'wait=60' } });
const content = async (device: string) =>
  (await fetchAnswer(`${url}/devices/${device}/content`)).body;

test('a restart of the host: what was copied from bytes that it may have cost is interrupted', async () => {
  const bytes = noise(SIZE);
  await start('the first');
  await fetchAnswer(`${url}/devices/dax0.0/content`, { method: 'PUT', body: bytes });
  const lost = await leaveUnfinished();

  await start('the second');
  expect(await ended(lost)).toMatchObject({
    status: 'interrupted',
    error: { code: 'interrupted', detail: expect.stringContaining('the host restarted') },
  });
  expect((await content('dax1.0')).equals(Buffer.alloc(SIZE))).toBe(true);

  // Since this start of the host nobody has written the source.
  const kept = await leaveUnfinished();
  await start('the third');
  expect((await ended(kept)).status).toBe('succeeded');
  expect((await content('dax1.0')).equals(bytes)).toBe(true);
});

test('a restart of the daemon alone costs no bytes', async () => {
  const bytes = noise(SIZE);
  await start('the same');
  await fetchAnswer(`${url}/devices/dax0.0/content`, { method: 'PUT', body: bytes });
  const kept = await leaveUnfinished();
  await start('the same');
  expect((await ended(kept)).status).toBe('succeeded');
  expect((await content('dax1.0')).equals(bytes)).toBe(true);
});
