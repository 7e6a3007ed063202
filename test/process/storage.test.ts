// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { expectProblem } from '../support/conformance.ts';
import { Daemon } from '../support/daemon.ts';
import { fetchAnswer } from '../support/fetch.ts';
import { inMounts, whyNot } from '../support/mounts.ts';

const TMPFS = 'mount -t tmpfs -o size=2m,mode=0700 tmpfs "$DMAD_STATE_DIR"';
// A disk under the devices that loses its end once it is in use: what is written there meets an I/O
// error. (Without a journal the daemon would not start.) Not ext2, whose blocks of block numbers may lie
// past that end: the kernel takes them for a lack of memory, and repeats the store that needs them for ever.
const BROKEN_DISK = [
  'mount -t tmpfs tmpfs /mnt',
  'truncate -s 64m /mnt/image',
  'mkfs.ext4 -q -F -b 4096 -O ^has_journal /mnt/image',
  'mkdir "$DMAD_STATE_DIR/devices"',
  'mount -o loop /mnt/image "$DMAD_STATE_DIR/devices"',
  'truncate -s 8m /mnt/image',
  'losetup --set-capacity "$(losetup --noheadings --output NAME --associated /mnt/image)"',
].join('; ');

describe.each([
  ['storage_full', 507, 'a file system that is full', inMounts(TMPFS)],
  ['media_error', 502, 'a disk that fails', inMounts(BROKEN_DISK)],
] as const)('%s', (code, status, what, wrapper) => {
  const reason = whyNot([...wrapper]);
  if (reason !== undefined) process.stderr.write(`skipped, ${what}: ${reason}\n`);
  const onMounts = reason === undefined ? test : test.skip;
  let daemon: Daemon;
  beforeEach(() => {
    const environment = { DMAD_DEVICES: 'emulated:dax0.0=16MiB,emulated:dax1.0=16MiB' };
    if (reason === undefined) daemon = new Daemon(environment, { wrapper: [...wrapper] });
  });
  afterEach(() => daemon?.stop('SIGKILL'));

  onMounts(what, async () => {
    const url = await daemon.ready();
    const post = (body: object) =>
      fetchAnswer(`${url}/transfers`, {
        method: 'POST',
        // A disk that fails takes its time.
        headers: { 'content-type': 'application/json', prefer: 'wait=60' },
        body: JSON.stringify(body),
      });
    const copy = { device_name: 'dax0.0', dst_device_name: 'dax1.0', src_offset: 0, dst_offset: 0 };
    if (code === 'storage_full') {
      const small = { ...copy, size: 4096 };
      expect((await post(small)).status).toBe(201);
      const upload = await fetchAnswer(`${url}/devices/dax0.0/content`, {
        method: 'PUT',
        body: Buffer.alloc(4 * 2 ** 20, 1),
      });
      expectProblem(upload, status, code);
    }
    const failed = await post({ ...copy, size: 16 * 2 ** 20 });
    const problem = expectProblem(failed, status, code);
    expect(problem.transfer).toMatchObject({ status: 'failed', error: { code, status } });
    expect(problem.transfer?.durability).toMatchObject({ achieved: 'none' });
    // It is the disk that has failed, not the daemon.
    expect((await fetchAnswer(`${url}/livez`)).status).toBe(200);
    expect((await fetchAnswer(`${url}/transfers/${problem.transfer?.id}`)).status).toBe(200);
    expect(await daemon.stop()).toMatchObject({ code: 0, signal: null, stderr: '' });
  });
});
