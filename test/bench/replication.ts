// SPDX-License-Identifier: Apache-2.0
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { connect } from '../../services/client/node.ts';
import type { Workshop } from './copier.ts';
import { type Row, repeat, rowOf, skipped } from './figures.ts';
import { alsoMapped, filesOf, oneDevice } from './mapped.ts';

const SIZE = 256 * 2 ** 20;
export const REPLICATION_ROWS = alsoMapped(['replicate_full']);

/** A replication of all of a device over loopback, its proof included, against curl, which proves nothing. */
export async function replicationRow(workshop: Workshop, name: string): Promise<Row> {
  const curl = promisify(execFile);
  try {
    await curl('curl', ['--version']);
  } catch {
    return skipped(name, 'curl is not installed');
  }
  const files = filesOf(workshop, name, 2 * SIZE);
  const source = await oneDevice(workshop, files, SIZE);
  const peers = join(workshop.directory, 'peers.yaml');
  writeFileSync(peers, stringify({ peers: [{ name: 'source', url: source.url }] }), {
    mode: 0o600,
  });
  const destination = await oneDevice(workshop, files, SIZE, { DMAD_PEERS_FILE: peers });
  const client = connect({ url: destination.url });
  const replicate = () =>
    client.createReplication(
      {
        ...{ peer: 'source', src_device_name: 'dax0.0', src_offset: 0, dst_device_name: 'dax0.0' },
        ...{ dst_offset: 0, size: SIZE, mode: 'full' },
      },
      { waitSeconds: 60 },
    );
  const download = () =>
    curl('curl', ['-sSf', '-o', '/dev/null', `${source.url}/devices/dax0.0/content`]);
  const speed = async (move: () => Promise<unknown>) => {
    const began = performance.now();
    await move();
    return SIZE / (performance.now() - began) / 1e6;
  };
  try {
    const filled = connect({ url: source.url });
    await filled.runTransfer({
      ...{ operation: 'fill', device_name: 'dax0.0', dst_offset: 0, size: SIZE, pattern: '5a' },
    });
    await filled.close();
    const pairs = await repeat(
      7,
      () => speed(replicate),
      () => speed(download),
    );
    return rowOf(name, 'GB/s', pairs, 'curl of the same bytes');
  } finally {
    await client.close();
    await Promise.all([source.stop(), destination.stop()]);
  }
}
