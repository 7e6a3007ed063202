// SPDX-License-Identifier: Apache-2.0
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { startTestApp } from '../support/app.ts';
import { FakePeer } from '../support/fake-peer.ts';
import { writePeers } from '../support/peers.ts';

const SIZE = 65_536;

test('at shutdown no transfer starts in the place of a replication that is stopped', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'dmad-test-'));
  const peer = await FakePeer.listen(Buffer.alloc(SIZE));
  // It says nothing.
  peer.lie = () => true;
  const environment = {
    DMAD_PEERS_FILE: writePeers(directory, [{ name: 'hostb', url: peer.url }]),
  };
  const app = await startTestApp({ environment });
  const prefer = { prefer: 'respond-async' };
  const replicate = async (size: number) => {
    const payload = {
      ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: 0 },
      ...{ dst_device_name: 'dax0.0', dst_offset: 0, size },
    };
    const request = { method: 'POST', url: '/replications', payload, headers: prefer } as const;
    expect((await app.ask(request)).status).toBe(202);
  };
  // The first runs, the second waits for it, and the transfer for the second alone.
  await replicate(4096);
  await replicate(SIZE);
  const fill = { ...{ operation: 'fill', device_name: 'dax0.0' }, pattern: 'ff' };
  const last = { ...fill, dst_offset: SIZE - 4096, size: 4096 };
  expect((await app.post(last, prefer)).statusCode).toBe(202);
  const fd = openSync(join(app.stateDir, 'devices', 'dax0.0'), 'r');
  await app.close(0);
  const after = Buffer.alloc(4096);
  readSync(fd, after, 0, after.length, SIZE - 4096);
  closeSync(fd);
  expect(after.equals(Buffer.alloc(4096))).toBe(true);
  await peer.close();
  rmSync(directory, { recursive: true, force: true });
});
