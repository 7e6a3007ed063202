// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cases } from '../support/depth.ts';
import { FaultyDisk } from '../support/faulty-disk.ts';
import { fetchJson } from '../support/fetch.ts';
import { Host } from '../support/peers.ts';

const BLOCK = 65_536;
const SIZE = 16 * BLOCK;

let disk: FaultyDisk;
let source: Host;
let destination: Host;
beforeAll(async () => {
  disk = new FaultyDisk();
  source = await Host.make('1MiB', {}, { lifetimeMs: 900_000 });
  destination = await Host.make('1MiB', disk.environment, { lifetimeMs: 900_000 });
  destination.know(source.url);
  await Promise.all([source.start(), destination.start()]);
}, 60_000);
afterAll(async () => {
  await Promise.all([source.remove(), destination.remove()]);
  disk.close();
});

// Acceptance, the first byte, each second of it, and the end: each is some writes and syncs.
const all = [1, 2, 3, 4, 5, 6, 7, 8].flatMap((first) =>
  (['before', 'after', 'during'] as const).flatMap((moment) =>
    [1, 4].map((times) => ({ first, moment, times })),
  ),
);

test.each(cases(all))(
  'the disk fails $times times from its operation $first on, $moment: what is refused never runs, what is accepted ends equal',
  async (fault) => {
    const bytes = randomBytes(SIZE);
    await source.write(bytes);
    const before = await destination.read(0, SIZE);
    const known = await fetchJson(`${destination.url}/replications`);
    disk.fail(fault);
    const answer = await destination
      .replicate({ size: SIZE, block_size: BLOCK }, { prefer: 'respond-async' })
      .catch(() => undefined);
    await destination.daemon
      ?.logged(/journal: cannot be written|replication finished/)
      .catch(() => {});
    disk.work();
    if (answer?.status === 202) {
      const { id } = JSON.parse(answer.body.toString());
      const ended = await destination.ended(id);
      expect(ended).toMatchObject({ status: 'succeeded', consistency: 'consistent' });
      expect((await destination.read(0, SIZE)).equals(bytes)).toBe(true);
    }
    const { replications } = await fetchJson(`${destination.url}/replications`);
    await destination.kill();
    await destination.start();
    const { replications: after } = await fetchJson(`${destination.url}/replications`);
    if (answer !== undefined && answer.status !== 202) {
      expect([503, 507]).toContain(answer.status);
      expect(replications).toEqual(known.replications);
      expect(after).toEqual(known.replications);
      expect((await destination.read(0, SIZE)).equals(before)).toBe(true);
    } else {
      const [latest] = after;
      // Of one without an answer nobody was told: it is there, or it is not.
      if (latest !== undefined && latest.finished_at === null) await destination.ended(latest.id);
      const { inconsistent } = await fetchJson(`${destination.url}/devices/dax0.0`);
      expect(inconsistent).toEqual([]);
    }
  },
  60_000,
);
