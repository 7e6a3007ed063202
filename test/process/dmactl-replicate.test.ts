// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { deepTest } from '../support/depth.ts';
import { dmactlFor } from '../support/dmactl.ts';
import { Host, MIB } from '../support/peers.ts';

let source: Host;
let destination: Host;
let dmactl: ReturnType<typeof dmactlFor>;
beforeAll(async () => {
  source = await Host.make('8MiB');
  destination = await Host.make('8MiB');
  destination.know(source.url);
  await Promise.all([source.start(), destination.start()]);
  await source.write(randomBytes(8 * MIB));
  dmactl = dmactlFor({ DMAD_URL: destination.url });
}, 60_000);
afterAll(() => Promise.all([source.remove(), destination.remove()]));

test('a range of a peer, to its end', async () => {
  const { code, document } = await dmactl.one(
    ...['replicate', 'other:dax0.0:1MiB+4MiB', 'dax0.0:2MiB', '--label', 'job=nightly'],
    ...['--block-size', '64KiB', '--rate', '1GiB', '--mode', 'full', '--timeout', '5m'],
  );
  expect({ code, document }).toMatchObject({
    code: 0,
    document: {
      ...{ command: 'replicate', schema_version: 1 },
      replication: {
        ...{ status: 'succeeded', peer: 'other', mode: 'full', block_size: 65_536 },
        ...{ src_offset: MIB, dst_offset: 2 * MIB, size: 4 * MIB, labels: { job: 'nightly' } },
      },
    },
  });
  expect(await destination.digest(2 * MIB, 4 * MIB)).toBe(await source.digest(MIB, 4 * MIB));
});

deepTest('left alone, seen, changed, cancelled', async () => {
  const { stdout } = await dmactl.run(
    ...['replicate', 'other:dax0.0:0+8MiB', 'dax0.0:0', '--rate', '64KiB', '--detach'],
  );
  const id = stdout.toString().trim();
  const shown = await dmactl.run('replications', 'show', id);
  expect(shown.stdout.toString()).toMatch(/^id .*\n.*running/s);
  const changed = await dmactl.one('replications', 'change', id, '--rate', '128KiB');
  expect(changed.document).toMatchObject({ replication: { id, bytes_per_second: 131_072 } });
  const { document } = await dmactl.one('replications', 'list', '--peer', 'other', '--limit', '1');
  expect(document).toMatchObject({ replications: [{ id }] });
  const cancelled = await dmactl.one('replications', 'cancel', id);
  expect(cancelled.document).toMatchObject({ replication: { id, status: 'cancelled' } });
  expect((await dmactl.run('replications', 'change', id, '--priority', 'low')).code).toBe(1);
});

deepTest(
  'what cannot be meant, and what does not succeed',
  async () => {
    for (const [code, ...args] of [
      [2, 'dax0.0:0+1MiB', 'dax0.0:0'],
      [2, 'other:dax0.0:0', 'dax0.0:0'],
      [2, 'other:dax0.0:0+1MiB', 'dax0.0:0+2MiB'],
      [2, 'other:dax0.0:0+16MiB', 'dax0.0:0'],
      [2, 'other:dax0.0:0+1MiB', 'dax0.0:0', '--block-size', '5000'],
      [3, 'nobody:dax0.0:0+1MiB', 'dax0.0:0'],
      [3, 'other:dax0.0:0+1MiB', 'dax7.0:0'],
      // The peer has no such device.
      [1, 'other:dax7.0:0+1MiB', 'dax0.0:0'],
    ] as const) {
      const { code: given, stderr } = await dmactl.run('replicate', ...args);
      expect({ args, given, stderr: stderr.toString() }).toMatchObject({ args, given: code });
    }
  },
  60_000,
);
