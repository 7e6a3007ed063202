// SPDX-License-Identifier: Apache-2.0
import { ASYNC, hang, type Lab, MIB, post } from './support.ts';

/** A daemon that copies on all its devices: what the pictures and the checks of each view show. */
export async function makeBusy({ url }: Lab): Promise<Record<string, string>> {
  const transfer = (body: object, headers?: Record<string, string>) =>
    post(`${url}/transfers`, body, headers);
  const between = { device_name: 'dax0.0', dst_device_name: 'dax1.0' };
  const labels = { job: 'nightly' };
  const done = await transfer({
    ...between,
    ...{ src_offset: 0, dst_offset: 192 * MIB, size: 32 * MIB, verify: 'crc32c', labels },
  });
  await transfer({ operation: 'fill', device_name: 'dax0.0', dst_offset: 0, size: MIB });
  await transfer({
    ...between,
    ...{ operation: 'compare', src_offset: 0, dst_offset: 192 * MIB, size: 8 * MIB },
  });
  const fault = { offset: '250MiB', size: '1MiB', kind: 'media_error', count: 1 };
  await post(`${url}/faults`, { device_name: 'dax1.0', ...fault });
  const failed = await transfer({
    ...between,
    ...{ src_offset: 0, dst_offset: 250 * MIB, size: 4 * MIB },
  });
  const failedId = (failed as unknown as { transfer: { id: string } }).transfer.id;
  await hang(url, 'dax0.0', 0, 96 * MIB);
  const running = await transfer(
    { ...between, src_offset: 0, dst_offset: 0, size: 96 * MIB, labels },
    ASYNC,
  );
  const segments = Array.from({ length: 12 }, (_, index) => ({
    ...{ src_offset: (112 + 5 * index) * MIB, dst_offset: (184 + 5 * index) * MIB, size: 3 * MIB },
  }));
  await transfer({ device_name: 'dax0.0', segments }, ASYNC);
  const queued = await transfer(
    {
      ...{ device_name: 'dax1.0', dst_device_name: 'dax0.0', priority: 'high' },
      ...{ src_offset: 40 * MIB, dst_offset: 100 * MIB, size: 8 * MIB },
    },
    ASYNC,
  );
  await transfer(
    {
      ...{ operation: 'compare', device_name: 'dax0.0', dst_device_name: 'dax1.0' },
      ...{ src_offset: 190 * MIB, dst_offset: 120 * MIB, size: 24 * MIB },
    },
    ASYNC,
  );
  const replication = await post(
    `${url}/replications`,
    {
      ...{ peer: 'hostb', src_device_name: 'dax0.0', src_offset: 0, size: 8 * MIB },
      ...{ dst_device_name: 'dax1.0', dst_offset: 240 * MIB },
    },
    ASYNC,
  );
  return {
    ...{ replications: 'replications', replication: `replications/${replication.id}` },
    replicate: 'new?operation=replicate',
    ...{ map: 'map', zoomed: 'map?dax0.0=100663296+50331648', transfers: 'transfers' },
    ...{ running: `transfers/${running.id}`, queued: `transfers/${queued.id}` },
    ...{ done: `transfers/${done.id}`, failed: `transfers/${failedId}` },
    ...{ engines: 'engines', copy: 'new', fill: 'new?operation=fill' },
    ...{ compare: 'new?operation=compare', upload: 'new?operation=upload' },
    ...{ download: 'new?operation=download', health: 'health' },
  };
}
